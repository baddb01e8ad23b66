//! Whether the controller has compiled a ConfigMap as it is now, with all of its routes in effect.
//!
//! The report does not say which version of a ConfigMap it is about. So the ConfigMap is parsed here
//! too, and the report must show the same key and the same routes. A problem of `data.routes` is waited
//! for, because a target may get ready. Other warnings do not keep the routes from being served.

#[cfg(test)]
mod tests;

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
    /// Whether it has nothing to route, so that no proxy has to know it.
    pub(super) is_idle: bool,
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
        // A fork that no Service selects: the table has no row for it, however long somebody waits.
        if fragment.content.is_empty() {
            return Self::Compiled(Compiled { is_idle: true, ..unlisted(&fragment, Vec::new()) });
        }
        let is_own = |listed: &&FragmentReport| listed.id() == id;
        match report.fragments.iter().find(is_own) {
            Some(listed) => Self::of_listed(&fragment, listed, report),
            None if report.omitted > 0 => {
                let note = "the controller's report has no room for this sandbox, so its problems \
                            are not known";
                Self::Compiled(unlisted(&fragment, vec![note.into()]))
            }
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
        let is_current = listed.key == fragment.key.as_str()
            && targets(fragment) == shown
            && queues(fragment) == listed.queues;
        if !is_current {
            return Self::Waiting("the controller has not compiled its latest change yet".into());
        }
        Self::Compiled(Compiled {
            key: fragment.key,
            routes: listed.routes.clone(),
            is_listed: true,
            is_idle: false,
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

fn queues(fragment: &Fragment) -> &[String] {
    match &fragment.content {
        Content::Sandbox { queues, .. } => queues,
        Content::Group { .. } => &[],
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

/// A fragment that the report does not list.
fn unlisted(fragment: &Fragment, notes: Vec<String>) -> Compiled {
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
    let routes = routes.collect();
    Compiled { key: fragment.key, routes, is_listed: false, is_idle: false, notes }
}
