//! The pure compile: fragments, settings and the cluster's state become a table and a report.
//!
//! The table is a function of its input and the time alone, whatever the order of the input.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use skycap_core::{
    config::{Keys, PluginConfig, Route},
    key::RoutingKey,
};

use super::{
    cluster::Cluster,
    flatten,
    flatten::{KeyEntry, Target},
    fragments::{Content, Fragment, OnUnavailable},
    input::Input,
    origin::Origin,
    report::{FragmentReport, FragmentState, Report, RouteReport},
    rollout::Rollout,
    settings::Settings,
};
use crate::problem::{Problem, Severity};

/// What a compile gives.
#[derive(Debug, Clone)]
pub struct Compilation {
    /// The table; `None` where the settings are refused, and the table in place is to stay.
    pub config: Option<PluginConfig>,
    /// What became of every fragment.
    pub report: Report,
    /// Which module serves whom now.
    pub rollout: Rollout,
    /// When a fragment or a canary expires next, and so something may be another.
    pub valid_until: Option<Timestamp>,
}

/// Compiles. Nothing here can fail: what cannot be used is in the report.
#[must_use]
pub fn compile(input: &Input, now: Timestamp) -> Compilation {
    let (fragments, settings) = (input.fragments(), input.settings());
    let mut compiler = Compiler {
        settings: settings.cloned().unwrap_or_default(),
        cluster: &input.cluster,
        fragments: &fragments,
        keys: BTreeMap::new(),
        problems: input.problems(),
        targets: vec![Vec::new(); fragments.len()],
    };
    let selector = &compiler.settings.namespaces;
    let states: Vec<_> = fragments
        .iter()
        .map(|fragment| match input.cluster.selects(selector, &fragment.origin.namespace) {
            true => state(fragment, now),
            false => FragmentState::Unselected,
        })
        .collect();
    compiler.claim(&states);
    let config = compiler.table();
    let reports = fragments.iter().zip(states).zip(compiler.targets);
    let report = Report::new(
        reports.map(|((fragment, state), targets)| FragmentReport::new(fragment, state, targets)),
        compiler.problems,
        settings.is_some(),
    );
    let mut rollout = input.rollout();
    rollout.canary = rollout.canary_at(now).cloned();
    let canary = rollout.canary.as_ref().map(|canary| canary.until);
    let expiries = fragments.iter().filter_map(|fragment| fragment.expires).chain(canary);
    Compilation {
        config: settings.is_some().then_some(config),
        report,
        rollout,
        valid_until: expiries.filter(|expires| *expires > now).min(),
    }
}

struct Compiler<'a> {
    settings: Settings,
    cluster: &'a Cluster,
    fragments: &'a [&'a Fragment],
    keys: BTreeMap<RoutingKey, KeyEntry>,
    problems: Vec<Problem>,
    /// For each fragment, what the report says of its routes.
    targets: Vec<Vec<RouteReport>>,
}

impl Compiler<'_> {
    /// Gives every key what its fragments say of it, the oldest first.
    fn claim(&mut self, states: &[FragmentState]) {
        let mut claims = HashMap::new();
        for (index, fragment) in self.fragments.iter().enumerate() {
            if states.get(index) != Some(&FragmentState::Active) {
                continue;
            }
            let owner = self.keys.entry(fragment.key).or_default();
            match &fragment.content {
                Content::Group { members } => {
                    self.problems.extend(owner.claim_members(members, &fragment.origin, index));
                }
                Content::Sandbox { extends, on_unavailable, .. } => {
                    if let Some(extends) = extends {
                        self.problems.extend(owner.claim_extends(
                            *extends,
                            &fragment.origin,
                            index,
                        ));
                    }
                    let on_unavailable = on_unavailable.unwrap_or(self.settings.on_unavailable);
                    self.claim_routes(index, fragment, on_unavailable, &mut claims);
                }
            }
        }
    }

    fn claim_routes<'f>(
        &mut self,
        index: usize,
        fragment: &'f Fragment,
        on_unavailable: OnUnavailable,
        claims: &mut HashMap<(RoutingKey, &'f str, &'f str, Option<u16>), &'f Origin>,
    ) {
        let Content::Sandbox { routes, .. } = &fragment.content else { return };
        let namespace = fragment.origin.namespace.as_str();
        for route in routes {
            let port = route.port.map(std::num::NonZeroU16::get);
            let claim = (fragment.key, namespace, route.service.as_str(), port);
            let older = *claims.entry(claim).or_insert(&fragment.origin);
            let warn = |text| fragment.origin.problem(Severity::Warning, "data.routes", text);
            if older != &fragment.origin {
                self.problems.push(warn(format!(
                    "`{}` has no effect: the older {} has it for key `{}`; remove one of the two",
                    route.service,
                    older.id(),
                    fragment.key,
                )));
                continue;
            }
            let dispatch = self.settings.config.dispatch;
            let targets = Target::resolve(route, namespace, on_unavailable, dispatch, self.cluster);
            for target in targets {
                self.problems.extend(target.warning().map(warn));
                if let Some(shown) = self.targets.get_mut(index) {
                    shown.push(target.report());
                }
                self.keys.entry(fragment.key).or_default().routes.push(target);
            }
            if self.cluster.knows_services()
                && self.cluster.ports(namespace, &route.service).is_none()
            {
                self.problems.push(warn(format!(
                    "there is no Service `{}` in namespace `{namespace}` to replace; check the name",
                    route.service
                )));
            }
        }
    }

    /// Flattens every key and writes each different route once.
    fn table(&mut self) -> PluginConfig {
        let mut rows: Vec<(RoutingKey, Vec<Route>)> = Vec::new();
        for key in self.keys.keys() {
            let (routes, notes) = flatten::flatten(*key, &self.keys);
            for (owner, field, text) in notes {
                if let Some(fragment) = self.fragments.get(owner) {
                    self.problems.push(fragment.origin.problem(Severity::Warning, field, text));
                }
            }
            rows.push((*key, routes));
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
}

fn state(fragment: &Fragment, now: Timestamp) -> FragmentState {
    if !fragment.enabled {
        FragmentState::Disabled
    } else if fragment.expires.is_some_and(|expires| expires <= now) {
        FragmentState::Expired
    } else {
        FragmentState::Active
    }
}
