//! From what fragments add to each key to one list of routes per key, so that the filter does not
//! have to search.

mod entry;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    num::NonZeroU16,
};

use skycap_core::{
    config::{Route, ServiceName},
    key::RoutingKey,
};

pub(crate) use self::entry::{KeyEntry, QueueClaim};
use super::limits::SEARCHED_KEYS;

/// The routes of one key, and the warnings about its references.
#[derive(Debug, Default)]
pub(crate) struct Flattened {
    /// The routes, the nearest level first, each with the index of the fragment that adds it to this
    /// key: the route's own, or the one that joins the route's key.
    pub(crate) routes: Vec<(Route, usize)>,
    /// The queues, of the nearest level that has them, each with the index of the fragment that adds it
    /// to this key.
    pub(crate) queues: Vec<(QueueClaim, usize)>,
    pub(crate) warnings: Vec<ReferenceWarning>,
}

/// A warning about a reference from one key to others.
#[derive(Debug)]
pub(crate) struct ReferenceWarning {
    /// The index of the fragment with the reference.
    pub(crate) fragment: usize,
    /// The field with the reference.
    pub(crate) field: &'static str,
    pub(crate) text: String,
}

/// Flattens `key`; `visits` is how many keys and routes the search may visit, and is reduced by how
/// many it has visited. `None` if it needs more.
///
/// Within one level a route with a port takes precedence over a route without one. A route for every
/// port of a Service hides the routes of farther levels for that Service.
pub(crate) fn flatten(
    key: RoutingKey,
    keys: &BTreeMap<RoutingKey, KeyEntry>,
    visits: &mut usize,
) -> Option<Flattened> {
    let mut found = Found::default();
    let mut references = References::new(key);
    let mut level = vec![key];
    while !level.is_empty() {
        let entries: Vec<_> = level.iter().filter_map(|member| keys.get(member)).collect();
        let cost: usize = entries.iter().map(|entry| 1 + entry.claims()).sum();
        *visits = visits.checked_sub(cost)?;
        found.add_level(key, &entries, references.joined_by);
        level = references.next_level(&entries, keys);
    }
    let mut warnings = Vec::new();
    let entry = keys.get(&key);
    if let Some((_, fragment, field)) = entry.and_then(|entry| entry.next().next()) {
        references.warn(fragment, field, &mut warnings);
    }
    Some(Flattened { routes: found.routes, queues: found.queues, warnings })
}

/// The references from one key, followed level by level.
struct References {
    key: RoutingKey,
    seen: HashSet<RoutingKey>,
    /// The fragment that joins the keys of the current level; `None` at the first one.
    joined_by: Option<usize>,
    /// The keys that the key itself names and that no fragment has, by fragment and field.
    unknown: BTreeMap<(usize, &'static str), Vec<RoutingKey>>,
    is_cycle: bool,
    is_too_long: bool,
}

impl References {
    fn new(key: RoutingKey) -> Self {
        Self {
            key,
            seen: HashSet::from([key]),
            joined_by: None,
            unknown: BTreeMap::new(),
            is_cycle: false,
            is_too_long: false,
        }
    }

    /// The keys that `entries` name and that were not visited before.
    fn next_level(
        &mut self,
        entries: &[&KeyEntry],
        keys: &BTreeMap<RoutingKey, KeyEntry>,
    ) -> Vec<RoutingKey> {
        let is_first = self.joined_by.is_none();
        let mut level = Vec::new();
        for (next, fragment, field) in entries.iter().flat_map(|entry| entry.next()) {
            self.joined_by.get_or_insert(fragment);
            self.is_cycle |= next == self.key;
            if is_first && !keys.contains_key(&next) {
                self.unknown.entry((fragment, field)).or_default().push(next);
            }
            if self.seen.contains(&next) {
                continue;
            }
            if self.seen.len() == SEARCHED_KEYS {
                self.is_too_long = true;
                break;
            }
            self.seen.insert(next);
            level.push(next);
        }
        level
    }

    /// Adds the warnings; `fragment` and `field` are of the key's first reference.
    fn warn(self, fragment: usize, field: &'static str, warnings: &mut Vec<ReferenceWarning>) {
        let Self { key, unknown, is_cycle, is_too_long, .. } = self;
        warnings.extend(unknown.into_iter().map(|((fragment, field), keys)| ReferenceWarning {
            fragment,
            field,
            text: unknown_text(&keys),
        }));
        if is_cycle {
            let text = format!("the references of key `{key}` form a cycle; remove one of them");
            warnings.push(ReferenceWarning { fragment, field, text });
        }
        if is_too_long {
            let text = format!(
                "key `{key}` joins or extends more than {SEARCHED_KEYS} keys, directly and through \
                 others; the farther ones have no effect; remove some of the references"
            );
            warnings.push(ReferenceWarning { fragment, field, text });
        }
    }
}

/// One warning for all unknown keys of a field.
fn unknown_text(keys: &[RoutingKey]) -> String {
    let shown: Vec<_> = keys.iter().take(3).map(|key| format!("`{key}`")).collect();
    let shown = shown.join(", ");
    match keys.len() {
        1 => format!(
            "no enabled sandbox or group has key {shown}, so it adds no routes; correct the key, or \
             enable its sandbox"
        ),
        count => format!(
            "no enabled sandbox or group has the keys {shown}{}, so they add no routes; correct the \
             keys, or enable their sandboxes",
            if count > 3 { format!(" and {} more", count - 3) } else { String::new() }
        ),
    }
}

/// The routes found so far.
#[derive(Default)]
struct Found<'a> {
    routes: Vec<(Route, usize)>,
    /// For each Service the ports that have a route, and whether every port has one.
    ports: BTreeMap<&'a ServiceName, (BTreeSet<NonZeroU16>, bool)>,
    queues: Vec<(QueueClaim, usize)>,
    queue_indexes: HashSet<usize>,
}

impl<'a> Found<'a> {
    /// Adds the routes of one level that nearer levels leave free. `joined_by` is the fragment that
    /// joins their keys; `None` for the key's own routes.
    fn add_level(&mut self, key: RoutingKey, entries: &[&'a KeyEntry], joined_by: Option<usize>) {
        let targets =
            || entries.iter().flat_map(|entry| &entry.routes).filter(|target| target.replaces());
        let with_port = targets().filter(|target| target.port.is_some());
        let without_port = targets().filter(|target| target.port.is_none());
        for target in with_port.chain(without_port) {
            let (ports, all) = self.ports.entry(&target.service).or_default();
            let is_new = !*all && target.port.is_none_or(|port| ports.insert(port));
            *all |= target.port.is_none();
            let route = is_new.then(|| target.route(&key)).flatten();
            self.routes.extend(route.map(|route| (route, joined_by.unwrap_or(target.fragment))));
        }
        let queues = entries.iter().flat_map(|entry| &entry.queues);
        let new = queues.filter(|claim| self.queue_indexes.insert(claim.queue));
        self.queues.extend(new.map(|claim| (*claim, joined_by.unwrap_or(claim.fragment))));
    }
}
