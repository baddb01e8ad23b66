//! What the fragments of one key add to it.

use std::sync::Arc;

use skycap_core::key::RoutingKey;

use crate::table::target::Target;

/// What the fragments of one key add to it.
#[derive(Debug)]
pub(crate) struct KeyEntry {
    /// The index of the oldest fragment with this key.
    pub(crate) oldest: usize,
    /// The key's own routes.
    pub(crate) routes: Vec<Target>,
    /// The queues whose messages with this key are a sandbox's own.
    pub(crate) queues: Vec<QueueClaim>,
    /// The key that it extends, and the index of the fragment that sets it.
    extends: Option<(RoutingKey, usize)>,
    /// The keys that it joins, and the index of the fragment that sets them.
    members: Option<(Arc<[RoutingKey]>, usize)>,
}

impl KeyEntry {
    /// The entry of a key whose oldest fragment has this index.
    pub(crate) const fn new(oldest: usize) -> Self {
        Self { oldest, routes: Vec::new(), queues: Vec::new(), extends: None, members: None }
    }

    /// Sets the members, unless an older fragment has set them.
    ///
    /// # Errors
    /// The index of the older fragment, if its members differ.
    pub(crate) fn set_members(
        &mut self,
        members: &Arc<[RoutingKey]>,
        fragment: usize,
    ) -> Result<(), usize> {
        let (first, owner) = self.members.get_or_insert_with(|| (Arc::clone(members), fragment));
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

    /// The index of the fragment by which this key joins or extends others; `None` if it does not.
    pub(crate) fn joined_by(&self) -> Option<usize> {
        self.next().next().map(|(_, fragment, _)| fragment)
    }

    /// How many routes and queues it has.
    pub(super) fn claims(&self) -> usize {
        self.routes.len() + self.queues.len()
    }

    /// The keys of the next level, each with the index and the field of the fragment that names it.
    pub(super) fn next(&self) -> impl Iterator<Item = (RoutingKey, usize, &'static str)> + '_ {
        let members = self.members.iter().flat_map(|(members, fragment)| {
            members.iter().map(|member| (*member, *fragment, "data.members"))
        });
        members.chain(self.extends.map(|(key, fragment)| (key, fragment, "data.extends")))
    }
}

/// A queue of a sandbox, by their indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueClaim {
    pub(crate) queue: usize,
    pub(crate) fragment: usize,
}
