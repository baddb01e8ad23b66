//! What the active fragments say to their keys, the oldest first: who replaces which destination, and
//! which keys join which.

mod warnings;

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    num::NonZeroU16,
};

use skycap_core::key::RoutingKey;

use self::warnings::joining_field;
use super::{
    cluster::Cluster,
    findings::Findings,
    flatten::{KeyEntry, QueueClaim},
    fragments::{Content, Fragment},
    queue::usable::{Found, UsableQueues},
    report::{FragmentState, RouteReport},
    routes::SandboxRoute,
    settings::Settings,
    target::Target,
};
use crate::problem::Severity;

/// The claims of all active fragments.
pub(crate) struct Claims<'a> {
    settings: &'a Settings,
    cluster: &'a Cluster,
    queues: &'a UsableQueues<'a>,
    /// The oldest first.
    pub(crate) fragments: &'a [&'a Fragment],
    pub(crate) keys: BTreeMap<RoutingKey, KeyEntry>,
    /// The routes of each fragment, for the report.
    pub(crate) routes: Vec<Vec<RouteReport>>,
    pub(crate) findings: Findings<'a>,
    /// The namespace whose `members` and `extends` count, for each key.
    owners: HashMap<RoutingKey, &'a str>,
    /// The fragment that replaces each destination.
    destinations: HashMap<Destination<'a>, usize>,
}

impl<'a> Claims<'a> {
    /// The claims of the fragments that are active in `states`.
    pub(crate) fn new(
        settings: &'a Settings,
        cluster: &'a Cluster,
        queues: &'a UsableQueues<'a>,
        fragments: &'a [&'a Fragment],
        states: &[FragmentState],
    ) -> Self {
        let active = || {
            let all = fragments.iter().zip(states).enumerate();
            all.filter(|(_, (_, state))| **state == FragmentState::Active)
                .map(|(index, (fragment, _))| (index, *fragment))
        };
        let mut claims = Self {
            settings,
            cluster,
            queues,
            fragments,
            keys: BTreeMap::new(),
            routes: vec![Vec::new(); fragments.len()],
            findings: Findings::default(),
            owners: owners(settings, active().map(|(_, fragment)| fragment)),
            destinations: HashMap::new(),
        };
        for (index, fragment) in active() {
            claims.add(index, fragment);
        }
        claims.warn_unavailable();
        claims
    }

    fn add(&mut self, index: usize, fragment: &'a Fragment) {
        self.warn_of_empty(fragment);
        let entry = self.keys.entry(fragment.key).or_insert_with(|| KeyEntry::new(index));
        let owner = self.owners.get(&fragment.key).copied();
        let is_owner = owner == Some(&fragment.origin.namespace);
        let (set, field) = match &fragment.content {
            Content::Group { members, .. } if members.is_empty() => return,
            Content::Sandbox { extends: None, .. } => (Ok(()), ""),
            Content::Group { members, matching } if is_owner => {
                (entry.set_members(members, index), joining_field(matching))
            }
            Content::Sandbox { extends: Some(key), .. } if is_owner => {
                (entry.set_extends(*key, index), "data.extends")
            }
            Content::Group { matching, .. } => {
                return self.refuse(fragment, joining_field(matching), owner);
            }
            Content::Sandbox { .. } => {
                self.refuse(fragment, "data.extends", owner);
                (Ok(()), "")
            }
        };
        self.warn_of_older(set, fragment, field);
        if let Content::Sandbox { routes, queues, .. } = &fragment.content {
            for route in routes {
                self.add_route((index, fragment), route);
            }
            for queue in queues {
                self.add_queue((index, fragment), queue);
            }
        }
    }

    /// Adds one queue to its fragment's key, unless an older fragment has it already.
    fn add_queue(&mut self, (index, fragment): (usize, &'a Fragment), queue: &'a str) {
        let found = match self.queues.find(&fragment.origin, queue) {
            Found::Usable(found) => found,
            Found::Unknown => return,
            Found::Taken => return self.warn_of_no_queue(fragment, queue, TAKEN),
            Found::Rejected => return self.warn_of_no_queue(fragment, queue, "is rejected"),
            Found::Missing => return self.warn_of_no_queue(fragment, queue, "does not exist"),
        };
        if let Some(older) = self.claim((index, fragment), What::Queue(queue)) {
            return self.warn_of_queue(older, fragment, queue);
        }
        if let Some(entry) = self.keys.get_mut(&fragment.key) {
            entry.queues.push(QueueClaim { queue: found, fragment: index });
        }
    }

    /// Claims a destination for a fragment, or returns the older fragment that has claimed it.
    fn claim(&mut self, (index, fragment): (usize, &'a Fragment), what: What<'a>) -> Option<usize> {
        let namespace = fragment.origin.namespace.as_str();
        match self.destinations.entry(Destination { key: fragment.key, namespace, what }) {
            Entry::Vacant(free) => {
                free.insert(index);
                None
            }
            Entry::Occupied(taken) => Some(*taken.get()),
        }
    }

    /// Adds one route to its fragment's key, unless an older fragment has replaced the destination.
    fn add_route(&mut self, (index, fragment): (usize, &'a Fragment), route: &'a SandboxRoute) {
        let namespace = fragment.origin.namespace.as_str();
        let what = What::Service(&route.service, route.port);
        if let Some(older) = self.claim((index, fragment), what) {
            return self.warn_of_route(older, fragment, route);
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
        if let Some(entry) = self.keys.get_mut(&fragment.key) {
            entry.routes.extend(targets);
        }
        if self.cluster.knows_services() && self.cluster.ports(namespace, &route.service).is_none()
        {
            self.findings.add(Severity::Warning, fragment, "data.routes", || {
                format!(
                    "route `{}: {}` applies to no request: there is no Service `{}` in namespace \
                     `{namespace}`; correct the name",
                    route.service, route.to, route.service,
                )
            });
        }
    }
}

/// The owner of each key: the namespace that the settings name, or that of the oldest fragment that
/// is not empty.
fn owners<'a>(
    settings: &'a Settings,
    oldest_first: impl Iterator<Item = &'a Fragment>,
) -> HashMap<RoutingKey, &'a str> {
    let mut owners = HashMap::new();
    for fragment in oldest_first.filter(|fragment| !fragment.content.is_empty()) {
        owners.entry(fragment.key).or_insert_with(|| {
            settings.key_owners.owner(&fragment.key).unwrap_or(&fragment.origin.namespace)
        });
    }
    owners
}

const TAKEN: &str = "gives this sandbox a topic that is one of another queue";

/// A destination under a key, which the oldest fragment replaces.
#[derive(PartialEq, Eq, Hash)]
struct Destination<'a> {
    key: RoutingKey,
    namespace: &'a str,
    what: What<'a>,
}

/// A Service and port, or a queue.
#[derive(PartialEq, Eq, Hash)]
enum What<'a> {
    Service(&'a str, Option<NonZeroU16>),
    Queue(&'a str),
}
