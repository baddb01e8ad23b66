//! How the events of a watch are applied: one by one, and a repeated listing as a whole.

use std::{collections::HashSet, mem};

use kube::{Resource, runtime::watcher::Event};

use crate::table::cluster::{Name, name_of};

/// The progress of a watch.
///
/// A watch that restarts lists all objects, and objects that are not in the list are gone. They are
/// removed only when the list is complete, so no table is made from half a list.
#[derive(Debug, Default)]
pub(super) struct Listing {
    is_complete: bool,
    /// The names in the current list; `None` between lists.
    names: Option<HashSet<Name>>,
}

impl Listing {
    /// Whether at least one list is complete.
    pub(super) const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Applies an event to `state` with one of the functions, which return whether `state` has
    /// changed: `put` adds or replaces an object, `remove` removes one, and `retain` removes all
    /// others than those with these names. Returns whether there is a reason for a new round.
    pub(super) fn apply<K: Resource, S>(
        &mut self,
        event: Event<K>,
        state: &mut S,
        put: impl Fn(&mut S, K) -> bool,
        remove: impl Fn(&mut S, K) -> bool,
        retain: impl Fn(&mut S, &HashSet<Name>) -> bool,
    ) -> bool {
        match event {
            Event::Init => {
                self.names = Some(HashSet::new());
                false
            }
            Event::InitApply(object) => {
                if let Some(names) = &mut self.names {
                    names.insert(name_of(object.meta()));
                }
                put(state, object)
            }
            Event::InitDone => {
                let names = self.names.take().unwrap_or_default();
                let is_first = !mem::replace(&mut self.is_complete, true);
                retain(state, &names) || is_first
            }
            Event::Apply(object) => put(state, object),
            Event::Delete(object) => remove(state, object),
        }
    }
}
