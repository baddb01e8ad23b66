//! Whether the controller has compiled a ConfigMap as it is now, with all of its routes in effect.
//!
//! The report does not say which version of a ConfigMap it is about. So the ConfigMap is parsed here
//! too, and the report must show the same key and the same routes. A problem of `data.routes` is waited
//! for, because a target may get ready. Other warnings do not keep the routes from being served.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use skycap_core::key::RoutingKey;

use crate::{
    desired::published::Summary,
    names::KIND_LABEL,
    problem::{Problem, Severity},
    table::{
        fragments::{Content, Fragment},
        report::{FragmentReport, FragmentState, Report, RouteReport},
    },
};

/// How far the controller is with a ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// It can never be served as it is, for this reason.
    Refused(String),
    /// It has no effect yet, or only a part of it has, for this reason.
    Waiting(String),
    /// It is in the table.
    Compiled(Compiled),
}

/// A ConfigMap that is in the table with all of its routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Compiled {
    /// Its routing key.
    pub(super) key: RoutingKey,
    /// Its own routes; none for a group.
    pub(super) routes: Vec<RouteReport>,
    /// Whether the report lists it. One without room for all leaves some out.
    pub(super) is_listed: bool,
    /// Problems that do not keep its routes from being served.
    pub(super) notes: Vec<String>,
}

impl Stage {
    /// The stage of `map` by what the controller has published.
    pub(super) fn of(map: &ConfigMap, summary: &Summary, report: &Report, now: Timestamp) -> Self {
        let id = format!("{}/{}", map.namespace().unwrap_or_default(), map.name_any());
        let fragment = match Fragment::parse(map, None, now) {
            Some(Ok(fragment)) => fragment,
            Some(Err(problem)) => return Self::Refused(problem.to_string()),
            None => {
                return Self::Refused(format!(
                    "ConfigMap {id} is not a sandbox: expected the label `{KIND_LABEL}: sandbox`"
                ));
            }
        };
        if map.metadata.deletion_timestamp.is_some() {
            return Self::Waiting(format!("ConfigMap {id} is being deleted"));
        }
        if fragment.expires.is_some_and(|expires| expires <= now) {
            let what = "has expired; extend its `ttl` or `expires`";
            return Self::Refused(format!("ConfigMap {id} {what}"));
        }
        if let Some(why) = why_off(&fragment, summary, report) {
            return Self::Waiting(why);
        }
        let is_own = |listed: &&FragmentReport| listed.id() == id;
        match report.fragments.iter().find(is_own) {
            Some(listed) => Self::of_listed(&fragment, listed, report),
            None if report.omitted > 0 => Self::Compiled(unlisted(&fragment)),
            None => {
                let problem = report.problems.iter().find(|problem| is_about(problem, &fragment));
                let why = problem.map(ToString::to_string);
                Self::Waiting(
                    why.unwrap_or_else(|| "the controller has not compiled it yet".into()),
                )
            }
        }
    }

    fn of_listed(fragment: &Fragment, listed: &FragmentReport, report: &Report) -> Self {
        let own = report.problems.iter().filter(|problem| listed.has(problem));
        let (blocking, notes): (Vec<_>, Vec<_>) = own.partition(|problem| {
            problem.severity == Severity::Refused || problem.field == "data.routes"
        });
        if let Some(problem) = blocking.first() {
            return Self::Waiting(problem.to_string());
        }
        if let Some(why) = why_inactive(listed.state) {
            return Self::Waiting(why.into());
        }
        // The problems of a report without room may be left out.
        if let Some(route) = listed.routes.iter().find(|route| route.unavailable.is_some()) {
            return Self::Waiting(format!("the target of `{route}` is unavailable"));
        }
        let shown = listed.routes.iter().map(|route| (&route.service, &route.to)).collect();
        if listed.key != fragment.key.as_str() || targets(fragment) != shown {
            return Self::Waiting("the controller has not compiled its latest change yet".into());
        }
        Self::Compiled(Compiled {
            key: fragment.key,
            routes: listed.routes.clone(),
            is_listed: true,
            notes: notes.into_iter().map(ToString::to_string).collect(),
        })
    }
}

/// Why nothing of the fragment can be in the table.
fn why_off(fragment: &Fragment, summary: &Summary, report: &Report) -> Option<String> {
    let (namespace, name) = (&fragment.origin.namespace, &fragment.origin.name);
    if !fragment.enabled {
        let enable = format!("skycap enable {name} -n {namespace}");
        return Some(format!(
            "it is disabled: a `skycap up` that failed leaves it so, and one that runs enables it at its \
             end; run `skycap up` again, or `{enable}` if somebody disabled it"
        ));
    }
    if !report.compiled || summary.generation.is_empty() {
        let of_table = |problem: &&Problem| problem.severity == Severity::Refused;
        let why = report.problems.iter().find(of_table).map(ToString::to_string);
        return Some(format!("the controller has no table: {}", why.unwrap_or_default()));
    }
    let off = "routing is off for all sandboxes; enable it with `skycap enable --all`";
    (!summary.enabled).then(|| off.to_owned())
}

const fn why_inactive(state: FragmentState) -> Option<&'static str> {
    match state {
        FragmentState::Active => None,
        FragmentState::Disabled | FragmentState::Expired => {
            Some("the controller has not compiled its latest change yet")
        }
        FragmentState::Unselected => {
            Some("`namespaces` in the settings does not select its namespace")
        }
        FragmentState::Evicted => Some("the table has no room for it"),
    }
}

fn is_about(problem: &Problem, fragment: &Fragment) -> bool {
    let origin = &fragment.origin;
    problem.object.as_ref().is_some_and(|object| {
        object.namespace.as_deref() == Some(&origin.namespace) && object.name == origin.name
    })
}

/// What each Service is replaced by. The report may show a route once for each port.
fn targets(fragment: &Fragment) -> BTreeSet<(&String, &String)> {
    match &fragment.content {
        Content::Sandbox { routes, .. } => {
            routes.iter().map(|route| (&route.service, &route.to)).collect()
        }
        Content::Group { .. } => BTreeSet::new(),
    }
}

/// A fragment for which the report has no room.
fn unlisted(fragment: &Fragment) -> Compiled {
    let routes = match &fragment.content {
        Content::Sandbox { routes, .. } => routes.as_slice(),
        Content::Group { .. } => &[],
    };
    let routes = routes.iter().map(|route| RouteReport {
        service: route.service.clone(),
        port: route.port,
        to: route.to.clone(),
        to_port: route.to_port,
        unavailable: None,
    });
    let note =
        "the controller's report has no room for this sandbox, so its problems are not known";
    Compiled {
        key: fragment.key,
        routes: routes.collect(),
        is_listed: false,
        notes: vec![note.into()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{compile::compile, input::Input, manifests::Manifests};

    /// What the controller publishes of these manifests.
    fn published(documents: &str, now: Timestamp) -> (Summary, Report) {
        let mut manifests = Manifests::default();
        manifests.add(documents, "test.yaml");
        let compilation = compile(&Input::new(&manifests, now), now);
        let config = compilation.config.expect("valid settings");
        let summary = Summary {
            generation: config.generation.to_string(),
            enabled: config.enabled,
            ..<_>::default()
        };
        (summary, compilation.report)
    }

    fn sandbox(data: &str) -> String {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: pr-1, namespace: shop, labels: {{skycap.dev/kind: \
             sandbox}}}}\ndata: {{{data}}}\n"
        )
    }

    #[test]
    fn a_sandbox_is_compiled_when_the_report_has_it_as_it_is_now() {
        let service = |name| {
            format!(
                "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{ports: [{{port: 80}}]}}\n"
            )
        };
        let (cart, target) = (service("cart"), service("cart-pr-1"));
        let own = "routes: 'cart: cart-pr-1'";
        for (now, compiled, services, expected) in [
            (own, own, [&cart, &target], "compiled"),
            (own, own, [&cart, &cart], "there is no Service `cart-pr-1`"),
            (own, own, [&target, &target], "applies to no request: there is no Service `cart`"),
            ("routes: 'cart: cart-pr-2'", own, [&cart, &target], "its latest change"),
            ("routes: 'cart: cart-pr-1', key: other", own, [&cart, &target], "its latest change"),
            (own, "enabled: 'false'", [&cart, &target], "its latest change"),
            ("enabled: 'false'", own, [&cart, &target], "skycap enable pr-1 -n shop"),
            ("nonsense: 'a'", own, [&cart, &target], "refused: "),
            ("expires: '2020-01-01T00:00:00Z'", own, [&cart, &target], "has expired"),
            (
                "routes: 'cart: cart-pr-1', extends: nobody",
                "routes: 'cart: cart-pr-1', extends: nobody",
                [&cart, &target],
                "compiled",
            ),
        ] {
            let time = Timestamp::now();
            let documents = [sandbox(compiled), services.map(String::as_str).concat()].concat();
            let (summary, report) = published(&documents, time);
            let map = serde_saphyr::from_str(&sandbox(now)).expect("a ConfigMap");
            let stage = Stage::of(&map, &summary, &report, time);
            let found = match &stage {
                Stage::Compiled(_) => "compiled",
                Stage::Waiting(why) | Stage::Refused(why) => why,
            };
            assert!(found.contains(expected), "{now}: expected `{expected}`: {stage:?}");
        }
    }
}
