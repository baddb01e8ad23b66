//! From what fragments say of a key to one list of routes, with no search left for the filter.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    num::NonZeroU16,
};

use skycap_core::{
    config::{Dispatch, Route, ServiceName, TargetPattern},
    key::RoutingKey,
};

use super::{
    cluster::Cluster, fragments::OnUnavailable, origin::Origin, report::RouteReport,
    routes::SandboxRoute,
};
use crate::problem::{Problem, Severity};

/// What the fragments of one key say together.
#[derive(Debug, Default)]
pub(crate) struct KeyEntry {
    /// The key's own routes.
    pub(crate) routes: Vec<Target>,
    /// What it extends, and the fragment that says so.
    extends: Option<(RoutingKey, usize)>,
    /// What it joins, and the fragment that says so.
    members: Option<(Vec<RoutingKey>, usize)>,
}

impl KeyEntry {
    /// The oldest fragment with members decides; a younger one that differs is warned.
    pub(crate) fn claim_members(
        &mut self,
        members: &[RoutingKey],
        origin: &Origin,
        owner: usize,
    ) -> Option<Problem> {
        let (first, _) = self.members.get_or_insert_with(|| (members.to_vec(), owner));
        (first != members).then(|| not_the_oldest(origin, "data.members"))
    }

    /// The oldest fragment with an `extends` decides; a younger one that differs is warned.
    pub(crate) fn claim_extends(
        &mut self,
        extends: RoutingKey,
        origin: &Origin,
        owner: usize,
    ) -> Option<Problem> {
        let (first, _) = *self.extends.get_or_insert((extends, owner));
        (first != extends).then(|| not_the_oldest(origin, "data.extends"))
    }

    /// The keys of the next level, each with the fragment and the field that name it.
    fn next(&self) -> impl Iterator<Item = (RoutingKey, usize, &'static str)> + '_ {
        let members = self.members.iter().flat_map(|(members, owner)| {
            members.iter().map(|member| (*member, *owner, "data.members"))
        });
        members.chain(self.extends.map(|(key, owner)| (key, owner, "data.extends")))
    }
}

/// One row that a key has of its own, judged against the cluster.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    service: ServiceName,
    port: Option<NonZeroU16>,
    to: String,
    to_port: Option<NonZeroU16>,
    /// Why it is unavailable.
    lacks: Option<String>,
    on_unavailable: OnUnavailable,
}

impl Target {
    /// The rows of a route: one, or one for each port where the ports do not fit as a whole.
    pub(crate) fn resolve(
        route: &SandboxRoute,
        namespace: &str,
        on_unavailable: OnUnavailable,
        dispatch: Dispatch,
        cluster: &Cluster,
    ) -> Vec<Self> {
        // Both were checked as labels when the fragment was parsed; a namespace is the cluster's.
        let Ok(service) = ServiceName::new(&route.service, namespace) else { return Vec::new() };
        let row = |(port, fit): (Option<NonZeroU16>, Fit)| {
            let (to_port, lacks) = match fit {
                Ok(to_port) => (to_port, None),
                Err(lacks) => (route.to_port, Some(lacks)),
            };
            let (service, to) = (service.clone(), route.to.clone());
            Self { service, port, to, to_port, lacks, on_unavailable }
        };
        let mut fits = fits(route, namespace, cluster);
        if dispatch == Dispatch::Authority {
            fits = fits.into_iter().map(same_port).collect();
        }
        fits.into_iter().map(row).collect()
    }

    /// What is to be said of an unavailable target.
    pub(crate) fn warning(&self) -> Option<String> {
        let Self { service, to, lacks, on_unavailable, .. } = self;
        let effect = match on_unavailable {
            OnUnavailable::Baseline => "its requests go on as if it were not replaced",
            OnUnavailable::Fail => "its requests get a 503",
        };
        lacks.as_ref().map(|lacks| format!("`{}: {to}`: {lacks}; {effect}", service.name()))
    }

    /// The row of the report.
    pub(crate) fn report(&self) -> RouteReport {
        RouteReport {
            service: self.service.name().to_owned(),
            port: self.port,
            to: self.to.clone(),
            to_port: self.to_port,
            unavailable: self.lacks.is_some().then_some(self.on_unavailable),
        }
    }

    fn route(&self, key: &RoutingKey) -> Option<Route> {
        let pattern = TargetPattern::from_name(&self.to, key).ok()?;
        Some(Route {
            service: self.service.clone(),
            port: self.port,
            to: pattern,
            to_port: self.to_port,
            unavailable: self.lacks.is_some(),
        })
    }

    fn replaces(&self) -> bool {
        self.lacks.is_none() || self.on_unavailable == OnUnavailable::Fail
    }
}

/// A remark on a fragment: its index, the field, the text.
pub(crate) type Note = (usize, &'static str, String);

/// The routes of `key`, nearest level first, and what is to be said of its members.
///
/// A level is searched in its order, but a route with a port beats one without. What a nearer
/// level replaces on all ports, no farther one can.
pub(crate) fn flatten(
    key: RoutingKey,
    keys: &BTreeMap<RoutingKey, KeyEntry>,
) -> (Vec<Route>, Vec<Note>) {
    let mut found = BTreeMap::<&ServiceName, (BTreeSet<NonZeroU16>, bool)>::new();
    let mut routes = Vec::new();
    let mut notes = Vec::new();
    let mut seen = HashSet::from([key]);
    let mut level = vec![key];
    let mut on_cycle = false;
    while !level.is_empty() {
        let entries: Vec<_> = level.iter().filter_map(|member| keys.get(member)).collect();
        let targets = || entries.iter().flat_map(|entry| &entry.routes).filter(|t| t.replaces());
        let with_port = targets().filter(|target| target.port.is_some());
        for target in with_port.chain(targets().filter(|target| target.port.is_none())) {
            let (ports, all) = found.entry(&target.service).or_default();
            let is_new = !*all && target.port.is_none_or(|port| ports.insert(port));
            *all |= target.port.is_none();
            routes.extend(is_new.then(|| target.route(&key)).flatten());
        }
        let is_first = level == [key];
        level = Vec::new();
        for (next, owner, field) in entries.iter().flat_map(|entry| entry.next()) {
            on_cycle |= next == key;
            if is_first && !keys.contains_key(&next) {
                notes.push((owner, field, nobody_has(next)));
            }
            if seen.insert(next) {
                level.push(next);
            }
        }
    }
    if let Some((_, owner, field)) =
        keys.get(&key).filter(|_| on_cycle).and_then(|e| e.next().next())
    {
        notes.push((owner, field, format!("key `{key}` leads back to itself; break the cycle")));
    }
    (routes, notes)
}

/// The target's port, `None` for the destination's own, or what the target lacks.
type Fit = Result<Option<NonZeroU16>, String>;

fn fits(
    route: &SandboxRoute,
    namespace: &str,
    cluster: &Cluster,
) -> Vec<(Option<NonZeroU16>, Fit)> {
    let SandboxRoute { service, port, to, to_port } = route;
    let whole = |fit| vec![(*port, fit)];
    if !cluster.is_ready(namespace, to) {
        return whole(Err(format!("Service `{to}` has no ready endpoint")));
    }
    let Some(ports) = cluster.ports(namespace, to) else {
        let missing = format!("there is no Service `{to}` in namespace `{namespace}`");
        return whole(if cluster.knows_services() { Err(missing) } else { Ok(*to_port) });
    };
    let has = |port: NonZeroU16| ports.contains(&port.get());
    let asks = |port: NonZeroU16| {
        Err(format!("Service `{to}` has no port {port}; say which one with `toPort`"))
    };
    let only = match (ports.len(), ports.first()) {
        (1, Some(only)) => NonZeroU16::new(*only),
        _ => None,
    };
    let baseline = cluster.ports(namespace, service);
    match (to_port, port, only) {
        (Some(to_port), _, _) if has(*to_port) => whole(Ok(Some(*to_port))),
        (Some(to_port), _, _) => whole(Err(format!("Service `{to}` has no port {to_port}"))),
        (None, Some(port), _) if has(*port) => whole(Ok(None)),
        (None, _, Some(only)) if baseline.is_some_and(|baseline| baseline == ports) => {
            whole(Ok(port.is_some().then_some(only)))
        }
        (None, _, Some(only)) => whole(Ok(Some(only))),
        (None, Some(port), None) => whole(asks(*port)),
        (None, None, None) if baseline.is_some_and(|baseline| baseline.is_subset(ports)) => {
            whole(Ok(None))
        }
        (None, None, None) => {
            let wanted = baseline.unwrap_or(ports).iter().filter_map(|port| NonZeroU16::new(*port));
            wanted.map(|port| (Some(port), if has(port) { Ok(None) } else { asks(port) })).collect()
        }
    }
}

/// Dispatch `authority` keeps the destination's port, so a target needs that very number.
fn same_port((port, fit): (Option<NonZeroU16>, Fit)) -> (Option<NonZeroU16>, Fit) {
    match (port, fit) {
        (None, Ok(Some(to_port))) => (Some(to_port), Ok(None)),
        (Some(port), Ok(Some(to_port))) if port != to_port => {
            let text = format!("dispatch `authority` cannot reach port {to_port} from port {port}");
            (Some(port), Err(text))
        }
        other => other,
    }
}

fn not_the_oldest(origin: &Origin, field: &str) -> Problem {
    let text = "has no effect: an older fragment of the key says otherwise; make them agree";
    origin.problem(Severity::Warning, field, text.into())
}

fn nobody_has(key: RoutingKey) -> String {
    format!("no sandbox or group that is switched on has key `{key}`; it counts as empty")
}
