//! What the controller knows of the cluster: the events of its watches, folded into an [`Input`].
//!
//! A reflector would keep whole objects, of which the table needs a tenth, and they would have to
//! be parsed at each compile: here an object is parsed once, when its event comes, and an event
//! that changes nothing that the table depends on ends here.

use std::{
    collections::{BTreeMap, HashSet},
    mem,
};

use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Service},
    discovery::v1::EndpointSlice,
};
use kube::{Resource, core::DynamicObject, runtime::watcher::Event};

use crate::{
    desired::plan::Live,
    objects::{ObjectRef, is_owned},
    table::{
        cluster::{Cluster, Name, name_of},
        input::Input,
        policies::PolicyKind,
        role::Role,
    },
};

/// One event of a watch.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the large ones are the rule")]
pub enum Change {
    /// A labelled ConfigMap.
    Fragment(Event<ConfigMap>),
    /// The settings, or that there are none.
    Settings(Option<Box<ConfigMap>>),
    /// A Service.
    Service(Event<Service>),
    /// A namespace, for its labels.
    Namespace(Event<Namespace>),
    /// An EndpointSlice.
    Slice(Event<EndpointSlice>),
    /// An object of the policies by which meshes of the Gateway API route, skycap's or another's.
    Policy(PolicyKind, Event<DynamicObject>),
    /// One of skycap's own objects, or that it is gone.
    Owned(ObjectRef, Option<Box<DynamicObject>>),
}

/// All that the controller knows.
#[derive(Debug)]
pub struct Cache {
    /// What the table is a function of.
    pub input: Input,
    /// Skycap's own objects as they are.
    pub live: Live,
    fragments: Listing,
    services: Listing,
    slices: Listing,
    namespaces: Listing,
    policies: BTreeMap<PolicyKind, Listing>,
    settings_known: bool,
    /// Which of skycap's own objects have been heard of.
    owned_known: HashSet<ObjectRef>,
    owned: usize,
    /// Those that skycap may read.
    policy_kinds: &'static [PolicyKind],
}

/// How far a watch has come. A watch that begins anew lists all there is, and what it does not
/// name is gone: until its list is whole nothing is forgotten, so no table is made of half a list.
#[derive(Debug, Default)]
struct Listing {
    complete: bool,
    names: Option<HashSet<Name>>,
}

impl Cache {
    /// Nothing known yet; `owned` objects are to be heard of, and policies of these kinds where a
    /// mesh of the settings wants them.
    #[must_use]
    pub fn new(owned: usize, policy_kinds: &'static [PolicyKind]) -> Self {
        Self {
            input: Input::empty(Cluster::empty()),
            live: Live::new(),
            fragments: Listing::default(),
            services: Listing::default(),
            slices: Listing::default(),
            namespaces: Listing::default(),
            policies: BTreeMap::new(),
            settings_known: false,
            owned_known: HashSet::new(),
            owned,
            policy_kinds,
        }
    }

    /// Whether every watch has listed all there is: no table is made before.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let lists = |kind| self.policies.get(kind).is_some_and(|listing| listing.complete);
        if self.wants_policies() && !self.policy_kinds.iter().all(lists) {
            return false;
        }
        let listings = [&self.fragments, &self.services, &self.slices, &self.namespaces];
        listings.iter().all(|listing| listing.complete)
            && self.settings_known
            && self.owned_known.len() == self.owned
    }

    /// Whether a mesh of the settings routes by HTTPRoutes, so that policies are to be watched.
    #[must_use]
    pub fn wants_policies(&self) -> bool {
        !self.policy_kinds.is_empty()
            && self.settings_known
            && self.input.meshes().take_http_routes()
    }

    /// Takes an event; gives whether it may change the table, or what is written of it.
    pub fn take(&mut self, change: Change, now: Timestamp) -> bool {
        let input = &mut self.input;
        match change {
            Change::Fragment(event) => fold(
                &mut self.fragments,
                event,
                input,
                // The settings have a watch of their own, which does not end with their label.
                |input, map| !is_settings(&map) && input.put(&map, None, now),
                |input, map| !is_settings(&map) && input.remove(&map),
                Input::retain_fragments,
            ),
            Change::Service(event) => fold(
                &mut self.services,
                event,
                &mut input.cluster,
                |cluster, service| cluster.put_service(&service),
                |cluster, service| cluster.remove_service(&service),
                Cluster::retain_services,
            ),
            Change::Slice(event) => fold(
                &mut self.slices,
                event,
                &mut input.cluster,
                |cluster, slice| cluster.put_slice(&slice),
                |cluster, slice| cluster.remove_slice(&slice),
                Cluster::retain_slices,
            ),
            Change::Namespace(event) => fold(
                &mut self.namespaces,
                event,
                &mut input.cluster,
                |cluster, namespace| cluster.put_namespace(&namespace),
                |cluster, namespace| cluster.remove_namespace(&namespace),
                Cluster::retain_namespaces,
            ),
            Change::Policy(kind, event) => {
                let listing = self.policies.entry(kind).or_default();
                let mut state = (&mut self.live, &mut input.policies);
                fold(
                    listing,
                    event,
                    &mut state,
                    |(live, policies), object| {
                        let ours = put_own(live, kind, &object);
                        policies.put(kind, &object) || ours
                    },
                    |(live, policies), object| {
                        let ours = live.remove(&kind.reference(&name_of(object.meta()))).is_some();
                        policies.remove(kind, &object) || ours
                    },
                    |(live, policies), names| {
                        let (before, (_, kind_name)) = (live.len(), kind.names());
                        live.retain(|of, _| {
                            let name = (of.namespace.clone().unwrap_or_default(), of.name.clone());
                            of.kind != kind_name || names.contains(&name)
                        });
                        policies.retain(kind, names) || live.len() != before
                    },
                )
            }
            Change::Settings(map) => {
                let first = !mem::replace(&mut self.settings_known, true);
                let changed = match map {
                    Some(map) => input.put(&map, None, now),
                    None => input.remove_settings(),
                };
                first || changed
            }
            Change::Owned(reference, object) => {
                self.owned_known.insert(reference.clone());
                match object {
                    Some(object) => drop(self.live.insert(reference, *object)),
                    None => drop(self.live.remove(&reference)),
                }
                true
            }
        }
    }
}

/// Keeps an HTTPRoute of skycap's own as it is now; gives whether that matters.
fn put_own(live: &mut Live, kind: PolicyKind, object: &DynamicObject) -> bool {
    let reference = kind.reference(&name_of(&object.metadata));
    if !is_owned(object) {
        return live.remove(&reference).is_some();
    }
    let before = live.insert(reference, object.clone());
    // A mesh writes the status again and again.
    before.is_none_or(|before| {
        before.data["spec"] != object.data["spec"]
            || before.metadata.labels != object.metadata.labels
    })
}

fn is_settings(map: &ConfigMap) -> bool {
    Role::of(map) == Some(Role::Settings)
}

fn fold<K: Resource, S>(
    listing: &mut Listing,
    event: Event<K>,
    state: &mut S,
    put: impl Fn(&mut S, K) -> bool,
    remove: impl Fn(&mut S, K) -> bool,
    retain: impl Fn(&mut S, &HashSet<Name>) -> bool,
) -> bool {
    match event {
        Event::Init => {
            listing.names = Some(HashSet::new());
            false
        }
        Event::InitApply(object) => {
            if let Some(names) = &mut listing.names {
                names.insert(name_of(object.meta()));
            }
            put(state, object)
        }
        Event::InitDone => {
            let names = listing.names.take().unwrap_or_default();
            let first = !mem::replace(&mut listing.complete, true);
            retain(state, &names) || first
        }
        Event::Apply(object) => put(state, object),
        Event::Delete(object) => remove(state, object),
    }
}
