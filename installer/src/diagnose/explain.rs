//! Why a request goes where it goes: the filter's own decision, told in steps.
//!
//! The decision is [`decide`]'s, the very code of the filter; this module gives it a request, and
//! adds what only the control plane knows: whose the key is, and why it may be missing.

use std::borrow::Cow;

use serde::Serialize;
use skycap_core::{
    config::PluginConfig,
    decision::{Decision, decide},
    effect::{Effect, HeaderEdit},
    reason::Reason,
    request::Request,
    table::Table,
};

use crate::{
    problem::Severity,
    table::report::{FragmentReport, FragmentState, Report},
};

/// A request as the sidecar of its sender sees it.
#[derive(Debug, Clone, Default)]
pub struct AskedRequest {
    /// The Service that it is for: name and namespace.
    pub service: (String, String),
    /// The Service's port.
    pub port: u16,
    /// Its headers; `:authority` and `:path` too.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The cluster's domain.
    pub domain: String,
}

impl AskedRequest {
    fn host(&self) -> String {
        let (name, namespace) = &self.service;
        format!("{name}.{namespace}.svc.{}", self.domain)
    }
}

impl Request for AskedRequest {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let lines = self.headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name));
        let lines: Vec<&[u8]> = lines.map(|(_, value)| value.as_slice()).collect();
        let comma: &[u8] = if name == "cookie" { b"; " } else { b"," };
        (!lines.is_empty()).then(|| lines.join(comma).into())
    }

    fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(name))
    }

    fn cluster_name(&self) -> Option<Vec<u8>> {
        Some(format!("outbound|{}||{}", self.port, self.host()).into_bytes())
    }

    fn virtual_host_name(&self) -> Option<Vec<u8>> {
        Some(format!("{}:{}", self.host(), self.port).into_bytes())
    }
}

/// The steps of one decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Story {
    /// Whether the request goes to a sandbox.
    pub routed: bool,
    /// The outcome, as counters and `x-skycap-decision` name it.
    pub reason: &'static str,
    /// Where the request goes in the end: `cart-pr-1.shop:80`.
    pub goes_to: String,
    /// What led there, in order.
    pub steps: Vec<Step>,
    /// What to do if something else was wanted.
    pub hints: Vec<String>,
}

/// One step: what was looked at, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// `key`, `destination`, …
    pub step: &'static str,
    /// In words.
    pub what: String,
}

/// Tells the decision on `request` under this table; `report` is what the table was made of.
///
/// # Errors
/// When the table is none that the filter would take.
pub fn explain(
    config: PluginConfig,
    report: &Report,
    request: &AskedRequest,
) -> anyhow::Result<Story> {
    let table = Table::new(config)?;
    let decision = decide(&table, request);
    let effect = decision.effect();
    let mut steps =
        vec![step("table", table_text(&decision)), step("carriers", carriers_text(&decision))];
    for dropped in decision.drops.iter() {
        steps.push(step("dropped", format!("{} ({})", dropped.text(), dropped.label())));
    }
    steps.extend(decision.key.as_ref().map(|(key, carrier)| {
        step(
            "key",
            format!("`{key}`, found in {}{}", carrier.source.label(), owners(report, key.as_str())),
        )
    }));
    steps.extend(decision.destination.as_ref().map(|destination| {
        step("destination", format!("{destination}, the Service that Envoy picked"))
    }));
    steps.extend(decision.route.map(|route| {
        let port = route.port.map_or_else(|| "every port".into(), |port| format!("port {port}"));
        step("row", format!("the key replaces {} on {port}", route.service))
    }));
    steps
        .push(step("outcome", format!("{} ({})", decision.reason.text(), decision.reason.label())));
    steps.extend(effects(&effect).map(|text| step("effect", text)));
    Ok(Story {
        routed: decision.reason == Reason::Routed,
        reason: decision.reason.label(),
        goes_to: goes_to(&decision, &effect, request),
        steps,
        hints: hints(&decision, report),
    })
}

impl Story {
    /// The story for people: where it goes, and a line a step.
    #[must_use]
    pub fn table(&self, request: &AskedRequest) -> String {
        let (name, namespace) = &request.service;
        let mut text = format!("{name}.{namespace}:{}  -->  {}\n", request.port, self.goes_to);
        for Step { step, what } in &self.steps {
            text.push_str(&format!("\n  {step:<12} {what}"));
        }
        for hint in &self.hints {
            text.push_str(&format!("\n\nhint: {hint}"));
        }
        text
    }
}

fn step(step: &'static str, what: String) -> Step {
    Step { step, what }
}

fn table_text(decision: &Decision<'_>) -> String {
    let config = decision.table().config();
    let state = if config.enabled { "" } else { ", switched off" };
    let keys = config.keys.len();
    let plural = if keys == 1 { "" } else { "s" };
    format!(
        "generation {}, {keys} key{plural}, dispatch {}{state}",
        config.generation, config.dispatch
    )
}

fn carriers_text(decision: &Decision<'_>) -> String {
    let config = decision.table().config();
    if !config.enabled {
        return "not looked at".into();
    }
    let labels = config.carriers.iter().map(|carrier| carrier.source.label());
    format!("looked at in this order: {}", labels.collect::<Vec<_>>().join(", "))
}

fn owners(report: &Report, key: &str) -> String {
    let of_key =
        |fragment: &&FragmentReport| fragment.key == key && fragment.state == FragmentState::Active;
    let owners: Vec<_> = report.fragments.iter().filter(of_key).map(FragmentReport::id).collect();
    if owners.is_empty() { String::new() } else { format!(", of {}", owners.join(", ")) }
}

fn effects(effect: &Effect) -> impl Iterator<Item = String> {
    let dispatch = effect.dispatch.as_ref().map(|edit| match edit {
        HeaderEdit::Set(name, value) => format!("sets `{name}: {value}`"),
        HeaderEdit::Remove(name) => format!("removes the client's `{name}`"),
    });
    let baggage = effect
        .baggage
        .as_ref()
        .map(|baggage| format!("sets `baggage: {}`", String::from_utf8_lossy(baggage)));
    let response =
        effect.response.as_ref().map(|response| format!("answers with {}", response.status));
    let nothing = effect == &Effect::default();
    let nothing = nothing.then(|| "the request goes on byte for byte as it came".to_owned());
    dispatch.into_iter().chain(baggage).chain(response).chain(nothing)
}

fn goes_to(decision: &Decision<'_>, effect: &Effect, request: &AskedRequest) -> String {
    let (name, namespace) = &request.service;
    match (&effect.response, decision.reason, decision.target()) {
        (Some(response), ..) => format!("{} from the sidecar", response.status),
        (None, Reason::Routed, Some((target, port))) => format!("{target}:{port}"),
        _ => format!("{name}.{namespace}:{} (baseline)", request.port),
    }
}

/// What to do, where the outcome is likely another than was wanted.
fn hints(decision: &Decision<'_>, report: &Report) -> Vec<String> {
    let key = decision.key.as_ref().map(|(key, _)| key.as_str()).unwrap_or_default();
    match decision.reason {
        Reason::Disabled => vec!["`skycap enable --all` switches routing on".into()],
        Reason::NoKey => {
            let carriers = &decision.table().config().carriers;
            let first = carriers.first().map(|carrier| carrier.source.label()).unwrap_or_default();
            vec![format!(
                "send the key in {first}, such as `-H 'baggage: sandbox=KEY'` does for baggage"
            )]
        }
        Reason::UnknownKey => unknown_key_hints(key, report),
        Reason::NotReplaced => {
            let problems = report
                .problems
                .iter()
                .filter(|problem| report.fragments.iter().any(|f| f.key == key && f.has(problem)));
            problems.map(ToString::to_string).collect()
        }
        _ => Vec::new(),
    }
}

fn unknown_key_hints(key: &str, report: &Report) -> Vec<String> {
    let mut hints = Vec::new();
    for fragment in report.fragments.iter().filter(|fragment| fragment.key == key) {
        let name = fragment.id();
        match fragment.state {
            FragmentState::Disabled => hints.push(format!(
                "{name} has this key and is switched off; `skycap enable {}` switches it on",
                format_args!("{} -n {}", fragment.name, fragment.namespace)
            )),
            FragmentState::Expired => {
                hints.push(format!("{name} has this key, and its time is over"));
            }
            FragmentState::Unselected => hints.push(format!(
                "{name} has this key, and the settings' `namespaces` do not select its namespace"
            )),
            FragmentState::Active => {}
        }
    }
    let refused = report.problems.iter().filter(|problem| {
        problem.severity == Severity::Refused
            && problem.object.as_ref().is_some_and(|object| object.name == key)
    });
    hints.extend(refused.map(ToString::to_string));
    let same = |other: &&FragmentReport| other.key.eq_ignore_ascii_case(key) && other.key != key;
    hints.extend(
        report
            .fragments
            .iter()
            .find(same)
            .map(|other| format!("there is `{}`: keys are case-sensitive", other.key)),
    );
    if hints.is_empty() {
        hints.push("`skycap list` shows the keys that there are".into());
    }
    hints
}
