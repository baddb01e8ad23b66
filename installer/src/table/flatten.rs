//! From what fragments add to each key to one list of routes per key, so that the filter does not
//! have to search.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    num::NonZeroU16,
};

use skycap_core::{
    config::{Route, ServiceName},
    key::RoutingKey,
};

use super::target::Target;

/// What the fragments of one key add to it.
#[derive(Debug, Default)]
pub(crate) struct KeyEntry {
    /// The key's own routes.
    pub(crate) routes: Vec<Target>,
    /// The key that it extends, and the index of the fragment that sets it.
    extends: Option<(RoutingKey, usize)>,
    /// The keys that it joins, and the index of the fragment that sets them.
    members: Option<(Vec<RoutingKey>, usize)>,
}

impl KeyEntry {
    /// Sets the members, unless an older fragment has set them.
    ///
    /// # Errors
    /// The index of the older fragment, if its members differ.
    pub(crate) fn set_members(
        &mut self,
        members: &[RoutingKey],
        fragment: usize,
    ) -> Result<(), usize> {
        let (first, owner) = self.members.get_or_insert_with(|| (members.to_vec(), fragment));
        if first == members { Ok(()) } else { Err(*owner) }
    }

    /// Sets the key that it extends, unless an older fragment has set it.
    ///
    /// # Errors
    /// The index of the older fragment, if it extends another key.
    pub(crate) fn set_extends(
        &mut self,
        extends: RoutingKey,
        fragment: usize,
    ) -> Result<(), usize> {
        let (first, owner) = *self.extends.get_or_insert((extends, fragment));
        if first == extends { Ok(()) } else { Err(owner) }
    }

    /// Whether it joins or extends other keys.
    pub(crate) fn has_next(&self) -> bool {
        self.next().next().is_some()
    }

    /// The keys of the next level, each with the index and the field of the fragment that names it.
    fn next(&self) -> impl Iterator<Item = (RoutingKey, usize, &'static str)> + '_ {
        let members = self.members.iter().flat_map(|(members, fragment)| {
            members.iter().map(|member| (*member, *fragment, "data.members"))
        });
        members.chain(self.extends.map(|(key, fragment)| (key, fragment, "data.extends")))
    }
}

/// A warning about a reference from one key to another.
#[derive(Debug)]
pub(crate) struct ReferenceWarning {
    /// The index of the fragment with the reference.
    pub(crate) fragment: usize,
    /// The field with the reference.
    pub(crate) field: &'static str,
    pub(crate) text: String,
}

/// The routes of `key`, the nearest level first, and the warnings about its references.
///
/// Within one level a route with a port takes precedence over a route without one. A route for every
/// port of a Service hides the routes of farther levels for that Service.
pub(crate) fn flatten(
    key: RoutingKey,
    keys: &BTreeMap<RoutingKey, KeyEntry>,
) -> (Vec<Route>, Vec<ReferenceWarning>) {
    let mut found = Found::default();
    let mut warnings = Vec::new();
    let mut seen = HashSet::from([key]);
    let mut level = vec![key];
    let mut on_cycle = false;
    while !level.is_empty() {
        let entries: Vec<_> = level.iter().filter_map(|member| keys.get(member)).collect();
        found.add_level(key, &entries);
        let is_first = level == [key];
        level = Vec::new();
        for (next, fragment, field) in entries.iter().flat_map(|entry| entry.next()) {
            on_cycle |= next == key;
            if is_first && !keys.contains_key(&next) {
                let text = format!(
                    "no enabled sandbox or group has key `{next}`, so it adds no routes; correct \
                     the key, or enable its sandbox"
                );
                warnings.push(ReferenceWarning { fragment, field, text });
            }
            if seen.insert(next) {
                level.push(next);
            }
        }
    }
    let first = keys.get(&key).and_then(|entry| entry.next().next());
    if let Some((_, fragment, field)) = first.filter(|_| on_cycle) {
        let text = format!("the references of key `{key}` form a cycle; remove one of them");
        warnings.push(ReferenceWarning { fragment, field, text });
    }
    (found.routes, warnings)
}

/// The routes found so far.
#[derive(Default)]
struct Found<'a> {
    routes: Vec<Route>,
    /// For each Service the ports that have a route, and whether every port has one.
    ports: BTreeMap<&'a ServiceName, (BTreeSet<NonZeroU16>, bool)>,
}

impl<'a> Found<'a> {
    /// Adds the routes of one level that nearer levels leave free.
    fn add_level(&mut self, key: RoutingKey, entries: &[&'a KeyEntry]) {
        let targets =
            || entries.iter().flat_map(|entry| &entry.routes).filter(|target| target.replaces());
        let with_port = targets().filter(|target| target.port.is_some());
        let without_port = targets().filter(|target| target.port.is_none());
        for target in with_port.chain(without_port) {
            let (ports, all) = self.ports.entry(&target.service).or_default();
            let is_new = !*all && target.port.is_none_or(|port| ports.insert(port));
            *all |= target.port.is_none();
            self.routes.extend(is_new.then(|| target.route(&key)).flatten());
        }
    }
}
