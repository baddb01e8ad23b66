//! The compile: fragments, settings and the state of the cluster become a table and a report.
//!
//! The table is a function of its input and the time alone, whatever the order of the input.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    num::NonZeroU16,
};

use jiff::Timestamp;
use skycap_core::{
    config::{Keys, PluginConfig, Route},
    key::RoutingKey,
};

use super::{
    cluster::Cluster,
    flatten::{KeyEntry, flatten},
    fragments::{Content, Fragment},
    input::Input,
    report::{FragmentReport, FragmentState, Report, RouteReport},
    rollout::Rollout,
    routes::SandboxRoute,
    settings::Settings,
    target::Target,
};
use crate::problem::{Problem, Severity};

/// The result of a compile.
#[derive(Debug, Clone)]
pub struct Compilation {
    /// The table; `None` if the settings are rejected, and then the current table must stay.
    pub config: Option<PluginConfig>,
    /// The report on every fragment.
    pub report: Report,
    /// Which module serves which workloads now.
    pub rollout: Rollout,
    /// When the next fragment or canary expires, and the result may change.
    pub valid_until: Option<Timestamp>,
}

/// Compiles. This cannot fail: what cannot be used is a problem in the report.
#[must_use]
pub fn compile(input: &Input, now: Timestamp) -> Compilation {
    let fragments = input.fragments();
    let settings = input.settings();
    let has_settings = settings.is_some();
    let mut compiler = Compiler {
        settings: settings.cloned().unwrap_or_default(),
        cluster: &input.cluster,
        fragments: &fragments,
        keys: BTreeMap::new(),
        problems: input.problems(),
        routes: vec![Vec::new(); fragments.len()],
    };
    let states: Vec<_> = fragments.iter().map(|fragment| compiler.state(fragment, now)).collect();
    compiler.claim(&states);
    compiler.warn_unavailable();
    let config = compiler.table();
    let reports = fragments.iter().zip(states).zip(compiler.routes);
    let report = Report::new(
        reports.map(|((fragment, state), routes)| FragmentReport::new(fragment, state, routes)),
        compiler.problems,
        has_settings,
    );
    let mut rollout = input.rollout();
    rollout.canary = rollout.canary_at(now).cloned();
    let canary = rollout.canary.as_ref().map(|canary| canary.until);
    let expiries = fragments.iter().filter_map(|fragment| fragment.expires).chain(canary);
    Compilation {
        config: has_settings.then_some(config),
        report,
        rollout,
        valid_until: expiries.filter(|expires| *expires > now).min(),
    }
}

struct Compiler<'a> {
    settings: Settings,
    cluster: &'a Cluster,
    /// The oldest first.
    fragments: &'a [&'a Fragment],
    keys: BTreeMap<RoutingKey, KeyEntry>,
    problems: Vec<Problem>,
    /// The routes of each fragment, for the report.
    routes: Vec<Vec<RouteReport>>,
}

impl<'a> Compiler<'a> {
    fn state(&self, fragment: &Fragment, now: Timestamp) -> FragmentState {
        if !self.cluster.selects(&self.settings.namespaces, &fragment.origin.namespace) {
            FragmentState::Unselected
        } else if !fragment.enabled {
            FragmentState::Disabled
        } else if fragment.expires.is_some_and(|expires| expires <= now) {
            FragmentState::Expired
        } else {
            FragmentState::Active
        }
    }

    /// Adds what the active fragments say to their keys, the oldest first.
    fn claim(&mut self, states: &[FragmentState]) {
        let mut claims = HashMap::new();
        for (index, (fragment, state)) in self.fragments.iter().zip(states).enumerate() {
            if *state != FragmentState::Active {
                continue;
            }
            let entry = self.keys.entry(fragment.key).or_default();
            match &fragment.content {
                Content::Group { members } => {
                    let set = entry.set_members(members, index);
                    self.warn_of_older(set, fragment, "data.members");
                }
                Content::Sandbox { extends, routes, .. } => {
                    let set = extends.map_or(Ok(()), |key| entry.set_extends(key, index));
                    self.warn_of_older(set, fragment, "data.extends");
                    for route in routes {
                        self.claim_route((index, fragment), route, &mut claims);
                    }
                }
            }
        }
    }

    /// Adds one route to its fragment's key, unless an older fragment has replaced the destination.
    fn claim_route(
        &mut self,
        (index, fragment): (usize, &'a Fragment),
        route: &'a SandboxRoute,
        claims: &mut HashMap<Claim<'a>, usize>,
    ) {
        let namespace = fragment.origin.namespace.as_str();
        let claim =
            Claim { key: fragment.key, namespace, service: &route.service, port: route.port };
        match claims.entry(claim) {
            Entry::Vacant(free) => {
                free.insert(index);
            }
            Entry::Occupied(taken) => return self.warn_of_claim(*taken.get(), fragment, route),
        }
        let own = match &fragment.content {
            Content::Sandbox { on_unavailable, .. } => *on_unavailable,
            Content::Group { .. } => None,
        };
        let targets = Target::resolve(
            route,
            (index, fragment),
            own.unwrap_or(self.settings.on_unavailable),
            self.settings.config.dispatch,
            self.cluster,
        );
        if let Some(shown) = self.routes.get_mut(index) {
            shown.extend(targets.iter().map(Target::report));
        }
        self.keys.entry(fragment.key).or_default().routes.extend(targets);
        if self.cluster.knows_services() && self.cluster.ports(namespace, &route.service).is_none()
        {
            let text = format!(
                "route `{}: {}` applies to no request: there is no Service `{}` in namespace \
                 `{namespace}`; correct the name",
                route.service, route.to, route.service,
            );
            self.warn(fragment, "data.routes", text);
        }
    }

    /// Flattens every key, and writes each distinct route once.
    fn table(&mut self) -> PluginConfig {
        let mut rows: Vec<(RoutingKey, Vec<Route>)> = Vec::new();
        let mut warnings = Vec::new();
        for key in self.keys.keys() {
            let (routes, found) = flatten(*key, &self.keys);
            warnings.extend(found);
            rows.push((*key, routes));
        }
        for warning in warnings {
            if let Some(fragment) = self.fragments.get(warning.fragment) {
                self.warn(fragment, warning.field, warning.text);
            }
        }
        let routes: BTreeSet<&Route> = rows.iter().flat_map(|(_, routes)| routes).collect();
        let routes: Vec<Route> = routes.into_iter().cloned().collect();
        let numbers: HashMap<&Route, u32> = routes.iter().zip(0..).collect();
        let mut keys = Keys::default();
        for (key, routes) in &rows {
            let mut numbers: Vec<u32> =
                routes.iter().filter_map(|route| numbers.get(route).copied()).collect();
            numbers.sort_unstable();
            keys.push(key, &numbers);
        }
        drop(numbers);
        let config = PluginConfig { routes, keys, ..self.settings.config.clone() };
        config.stamped()
    }

    /// Warns about each unavailable target. What its requests get depends on all claims of the key.
    fn warn_unavailable(&mut self) {
        let entries = self.keys.values().map(|entry| (&entry.routes, entry.has_next()));
        let targets = entries.flat_map(|(targets, has_next)| {
            targets.iter().map(move |target| (target.fragment, target.warning(has_next)))
        });
        let warnings: Vec<_> = targets.filter_map(|(index, text)| Some((index, text?))).collect();
        for (index, text) in warnings {
            if let Some(fragment) = self.fragments.get(index) {
                self.warn(fragment, "data.routes", text);
            }
        }
    }

    /// Warns about a route whose destination an older fragment of the same key replaces.
    fn warn_of_claim(&mut self, older: usize, fragment: &Fragment, route: &SandboxRoute) {
        let Some(older) = self.fragments.get(older) else { return };
        let text = format!(
            "route `{}: {}` has no effect: the older ConfigMap {} replaces `{}` for key `{}`; \
             remove one of the two routes",
            route.service,
            route.to,
            older.origin.id(),
            route.service,
            fragment.key,
        );
        self.warn(fragment, "data.routes", text);
    }

    /// Warns about a field of the key for which an older fragment sets another value.
    fn warn_of_older(&mut self, set: Result<(), usize>, fragment: &Fragment, field: &str) {
        let Some(older) = set.err().and_then(|index| self.fragments.get(index)) else { return };
        let text = format!(
            "this value has no effect: the older ConfigMap {} sets another one for key `{}`; set \
             the same value in both",
            older.origin.id(),
            fragment.key,
        );
        self.warn(fragment, field, text);
    }

    fn warn(&mut self, fragment: &Fragment, field: &str, text: String) {
        self.problems.push(fragment.origin.problem(Severity::Warning, field, text));
    }
}

/// A destination under a key, which the oldest fragment replaces.
#[derive(PartialEq, Eq, Hash)]
struct Claim<'a> {
    key: RoutingKey,
    namespace: &'a str,
    service: &'a str,
    port: Option<NonZeroU16>,
}
