//! Why a request goes where it goes: the filter's own decision, step by step.
//!
//! [`decide`] is the function that the filter runs. This module passes a request to it, and adds what
//! only the control plane knows: whose the key is, and why a key may be missing.

mod hints;

use std::hash::{BuildHasher as _, RandomState};

use serde::Serialize;
use skycap_core::{
    config::PluginConfig,
    decision::{Decision, decide},
    edge::Workload,
    effect::{CarrierEdit, Effect, HeaderEdit},
    reason::Reason,
    table::{Seed, Table},
};

use self::hints::hints;
pub(super) use self::hints::unknown_key;
use super::request::AskedRequest;
use crate::table::report::{FragmentReport, FragmentState, Report};

/// Where a request goes, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Whether the request goes to a sandbox.
    pub routed: bool,
    /// The outcome, in the word of the counters and of `x-skycap-decision`.
    pub reason: &'static str,
    /// Where the request goes, such as `cart-pr-1.shop:80`.
    pub goes_to: String,
    /// The steps of the decision, in order.
    pub steps: Vec<DecisionStep>,
    /// What to do if another outcome was expected.
    pub hints: Vec<String>,
}

/// One step of a decision: what the filter looked at, and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecisionStep {
    /// What the step is about: `key`, `destination`, …
    pub step: &'static str,
    /// What was found, in words.
    pub what: String,
}

/// Where the proxy stands that decides the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At the edge, which a request from outside passes first.
    Edge,
    /// Inside the mesh, as a sidecar.
    Inside,
}

/// Explains the decision on `request` under this table. `report` is of the same compile.
///
/// # Errors
/// The filter would reject the table.
pub fn explain(
    config: PluginConfig,
    report: &Report,
    request: &AskedRequest,
    place: Place,
) -> anyhow::Result<Explanation> {
    let workload = config.edge.workloads.first().filter(|_| place == Place::Edge).cloned();
    let table = Table::new(config, random_seed())?.placed_by(workload.is_some(), |label| {
        let Some(Workload::Labels(labels)) = &workload else { return None };
        let (_, value) = labels.iter().find(|(name, _)| *name == label)?;
        Some(value.as_bytes().to_vec())
    });
    let mut decision = decide(&table, request);
    let edits = decision.edge_edits(request);
    let effect = decision.effect();
    Ok(Explanation {
        routed: decision.reason == Reason::Routed,
        reason: decision.reason.label(),
        goes_to: goes_to(&decision, &effect, request),
        steps: steps(&decision, &effect, &edits, report),
        hints: hints(&decision, report),
    })
}

impl Explanation {
    /// The explanation for people: where the request goes, a line per step, and the hints.
    #[must_use]
    pub fn table(&self, request: &AskedRequest) -> String {
        let mut text = format!("{}  -->  {}\n", request.to, self.goes_to);
        for DecisionStep { step, what } in &self.steps {
            text.push_str(&format!("\n  {step:<12} {what}"));
        }
        for hint in &self.hints {
            text.push_str(&format!("\n\nhint: {hint}"));
        }
        text
    }
}

fn steps(
    decision: &Decision<'_>,
    effect: &Effect,
    edits: &[CarrierEdit],
    report: &Report,
) -> Vec<DecisionStep> {
    let step = |step, what| DecisionStep { step, what };
    let mut steps =
        vec![step("table", table_text(decision)), step("carriers", carriers_text(decision))];
    for dropped in decision.drops.iter() {
        steps.push(step("dropped", format!("{} ({})", dropped.text(), dropped.label())));
    }
    steps.extend(decision.key.as_ref().map(|(key, carrier)| {
        let owners = owners(report, key.as_str());
        step("key", format!("`{key}`, found in {}{owners}", carrier.source.label()))
    }));
    steps.extend(decision.destination.as_ref().map(|destination| {
        step("destination", format!("{destination}, the Service that Envoy selected"))
    }));
    steps.extend(decision.route.map(|route| {
        let port = route.port.map_or_else(|| "every port".into(), |port| format!("port {port}"));
        step("route", format!("the key replaces {} on {port}", route.service))
    }));
    let reason = decision.reason;
    steps.push(step("outcome", format!("{} ({})", reason.text(), reason.label())));
    steps.extend(effects(effect, edits).map(|text| step("effect", text)));
    steps
}

fn table_text(decision: &Decision<'_>) -> String {
    let config = decision.table().config();
    let state = if config.enabled { "" } else { ", disabled" };
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
        return "not read".into();
    }
    let labels = decision.table().carriers().iter().map(|carrier| carrier.source.label());
    format!("tried in this order: {}", labels.collect::<Vec<_>>().join(", "))
}

fn owners(report: &Report, key: &str) -> String {
    let of_key =
        |fragment: &&FragmentReport| fragment.key == key && fragment.state == FragmentState::Active;
    let owners: Vec<_> = report.fragments.iter().filter(of_key).map(FragmentReport::id).collect();
    if owners.is_empty() { String::new() } else { format!(", defined by {}", owners.join(", ")) }
}

fn effects(effect: &Effect, edits: &[CarrierEdit]) -> impl Iterator<Item = String> {
    let edits = edits.iter().map(|CarrierEdit { header, value }| match value {
        Some(value) => format!("sets `{header}: {}`", String::from_utf8_lossy(value)),
        None => format!("removes `{header}`"),
    });
    let edits: Vec<_> = edits.collect();
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
    let nothing = effect == &Effect::default() && edits.is_empty();
    let nothing = nothing.then(|| "the request passes through unchanged, byte for byte".to_owned());
    edits.into_iter().chain(dispatch).chain(baggage).chain(response).chain(nothing)
}

fn goes_to(decision: &Decision<'_>, effect: &Effect, request: &AskedRequest) -> String {
    match (&effect.response, decision.reason, decision.target()) {
        (Some(response), ..) => format!("{} from the sidecar", response.status),
        (None, Reason::Routed, Some((target, port))) => format!("{target}:{port}"),
        _ => format!("{} (baseline)", request.to),
    }
}

/// A seed from the randomness of the standard library's own maps.
pub(crate) fn random_seed() -> Seed {
    let random = RandomState::new();
    Seed::new([random.hash_one(0), random.hash_one(1)])
}
