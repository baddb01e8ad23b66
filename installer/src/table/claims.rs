//! What the active fragments say to their keys, the oldest first: who replaces which destination, and
//! which keys join which.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    num::NonZeroU16,
};

use skycap_core::key::RoutingKey;

use super::{
    cluster::Cluster,
    findings::Findings,
    flatten::KeyEntry,
    fragments::{Content, Fragment},
    matching::Matching,
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
        if let Content::Sandbox { routes, .. } = &fragment.content {
            for route in routes {
                self.add_route((index, fragment), route);
            }
        }
    }

    /// Warns about a fragment that routes nothing, whatever the others say.
    fn warn_of_empty(&mut self, fragment: &'a Fragment) {
        let (field, what) = match &fragment.content {
            content if content.is_empty() => match content {
                Content::Group { .. } => {
                    ("data.members", "add a line such as `members: pr-1, pr-2`")
                }
                Content::Sandbox { .. } => ("data.routes", "add a line such as `cart: cart-pr-1`"),
            },
            Content::Group { members, .. } if members.is_empty() => {
                ("data.match", "no active sandbox of its namespace has these labels")
            }
            _ => return,
        };
        self.findings.add(Severity::Warning, fragment, field, || {
            format!("empty: this ConfigMap routes nothing; {what}")
        });
    }

    /// Adds one route to its fragment's key, unless an older fragment has replaced the destination.
    fn add_route(&mut self, (index, fragment): (usize, &'a Fragment), route: &'a SandboxRoute) {
        let namespace = fragment.origin.namespace.as_str();
        let destination =
            Destination { key: fragment.key, namespace, service: &route.service, port: route.port };
        match self.destinations.entry(destination) {
            Entry::Vacant(free) => {
                free.insert(index);
            }
            Entry::Occupied(taken) => {
                let older = *taken.get();
                return self.warn_of_route(older, fragment, route);
            }
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

    /// Warns about each unavailable target. What its requests get depends on all claims of the key.
    fn warn_unavailable(&mut self) {
        for entry in self.keys.values() {
            let has_next = entry.joined_by().is_some();
            for target in entry.routes.iter().filter(|target| target.is_unavailable()) {
                if let Some(fragment) = self.fragments.get(target.fragment) {
                    let text = || target.warning(has_next);
                    self.findings.add(Severity::Warning, fragment, "data.routes", text);
                }
            }
        }
    }

    /// Warns about a route whose destination an older fragment of the same key replaces.
    fn warn_of_route(&mut self, older: usize, fragment: &'a Fragment, route: &SandboxRoute) {
        let Some(older) = self.fragments.get(older) else { return };
        self.findings.add(Severity::Warning, fragment, "data.routes", || {
            format!(
                "route `{}: {}` has no effect: the older ConfigMap {} replaces `{}` for key `{}`; \
                 remove one of the two routes",
                route.service,
                route.to,
                older.origin.id(),
                route.service,
                fragment.key,
            )
        });
    }

    /// Warns about a field of the key for which an older fragment sets another value.
    fn warn_of_older(&mut self, set: Result<(), usize>, fragment: &'a Fragment, field: &str) {
        let Some(older) = set.err().and_then(|index| self.fragments.get(index)) else { return };
        self.findings.add(Severity::Warning, fragment, field, || {
            format!(
                "this value has no effect: the older ConfigMap {} sets another one for key `{}`; \
                 set the same value in both",
                older.origin.id(),
                fragment.key,
            )
        });
    }

    /// Refuses a field that only the owner of the key may set.
    fn refuse(&mut self, fragment: &'a Fragment, field: &str, owner: Option<&str>) {
        let key = fragment.key;
        let why = match self.settings.key_owners.owner(&key) {
            Some(_) => "`keyOwners` in the settings says so",
            None => "it has the oldest sandbox or group with this key",
        };
        let owner = owner.unwrap_or_default();
        self.findings.add(Severity::Refused, fragment, field, || {
            format!(
                "this value has no effect: only namespace `{owner}` may set it for key `{key}`, \
                 because {why}; use another key, or ask the owner of that namespace"
            )
        });
    }
}

/// The field by which a group joins keys.
fn joining_field(matching: &Matching) -> &'static str {
    if matching.is_empty() { "data.members" } else { "data.match" }
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

/// A destination under a key, which the oldest fragment replaces.
#[derive(PartialEq, Eq, Hash)]
struct Destination<'a> {
    key: RoutingKey,
    namespace: &'a str,
    service: &'a str,
    port: Option<NonZeroU16>,
}
