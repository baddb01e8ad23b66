//! The policies of a mesh in the cache: those of the user, and skycap's own HTTPRoutes.

use std::collections::HashSet;

use kube::{core::DynamicObject, runtime::watcher::Event};

use super::listing::Listing;
use crate::{
    desired::plan::Live,
    objects::is_owned,
    table::{
        cluster::{Name, name_of},
        policies::{Policies, PolicyKind},
    },
};

/// Applies an event about a policy. Returns whether it may change what the controller writes.
pub(super) fn apply(
    listing: &mut Listing,
    kind: PolicyKind,
    event: Event<DynamicObject>,
    live: &mut Live,
    policies: &mut Policies,
) -> bool {
    listing.apply(
        event,
        &mut (live, policies),
        |(live, policies), object| {
            let is_own_changed = put_own(live, kind, &object);
            policies.put(kind, &object) || is_own_changed
        },
        |(live, policies), object| {
            let is_own = live.remove(&kind.reference(&name_of(&object.metadata))).is_some();
            policies.remove(kind, &object) || is_own
        },
        |(live, policies), names| {
            let is_own_removed = retain_own(live, kind, names);
            policies.retain(kind, names) || is_own_removed
        },
    )
}

/// Stores an HTTPRoute if skycap owns it. Returns whether its specification or labels have changed:
/// a mesh writes the status often, and the controller does not depend on it.
fn put_own(live: &mut Live, kind: PolicyKind, object: &DynamicObject) -> bool {
    let reference = kind.reference(&name_of(&object.metadata));
    if !is_owned(object) {
        return live.remove(&reference).is_some();
    }
    let before = live.insert(reference, object.clone());
    before.is_none_or(|before| {
        before.data["spec"] != object.data["spec"]
            || before.metadata.labels != object.metadata.labels
    })
}

/// Removes skycap's objects of a kind that have other names than these.
fn retain_own(live: &mut Live, kind: PolicyKind, names: &HashSet<Name>) -> bool {
    let (before, (_, kind)) = (live.len(), kind.names());
    live.retain(|of, _| {
        let name = (of.namespace.clone().unwrap_or_default(), of.name.clone());
        of.kind != kind || names.contains(&name)
    });
    live.len() != before
}
