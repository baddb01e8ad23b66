//! What the controller knows about the cluster: the changes from its watches, applied to an
//! [`Input`].
//!
//! A reflector would keep whole objects, of which the table needs a tenth, and every compile would
//! have to parse them. Here an object is parsed once, when its event arrives, and an event that
//! changes nothing for the table has no further effect.

mod listing;
mod policies;

use std::{
    collections::{BTreeMap, HashSet},
    mem,
};

use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Service},
    discovery::v1::EndpointSlice,
};
use kube::{core::DynamicObject, runtime::watcher::Event};

use self::listing::Listing;
use crate::{
    desired::plan::Live,
    objects::ObjectRef,
    table::{
        cluster::{Cluster, has_ready_endpoint},
        input::Input,
        policies::PolicyKind,
        role::Role,
    },
};

/// One event of a watch.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most changes are of the large variants")]
pub enum Change {
    /// A ConfigMap with skycap's label.
    Fragment(Event<ConfigMap>),
    /// The settings; `None` if there are none.
    Settings(Option<Box<ConfigMap>>),
    /// A Service.
    Service(Event<Service>),
    /// A namespace, for its labels.
    Namespace(Event<Namespace>),
    /// An EndpointSlice.
    Slice(Event<EndpointSlice>),
    /// A policy by which a mesh of the Gateway API routes, of skycap or of the user.
    Policy(PolicyKind, Event<DynamicObject>),
    /// One of skycap's objects with a fixed name; `None` if it does not exist.
    Owned(ObjectRef, Option<Box<DynamicObject>>),
}

impl Change {
    /// Whether it is an EndpointSlice without a ready endpoint, or the end of one.
    #[must_use]
    pub fn has_no_ready_endpoint(&self) -> bool {
        match self {
            Self::Slice(Event::Apply(slice)) => !has_ready_endpoint(slice),
            Self::Slice(Event::Delete(_)) => true,
            _ => false,
        }
    }
}

/// Everything that the controller knows about the cluster.
#[derive(Debug)]
pub struct Cache {
    /// The input of a compile.
    pub input: Input,
    /// The current state of skycap's own objects.
    pub live: Live,
    fragments: Listing,
    services: Listing,
    slices: Listing,
    namespaces: Listing,
    policies: BTreeMap<PolicyKind, Listing>,
    has_settings: bool,
    /// The objects with fixed names whose state is known.
    known: HashSet<ObjectRef>,
    /// How many objects with fixed names there are to know.
    named: usize,
    /// The policies for which skycap has permissions.
    policy_kinds: Vec<PolicyKind>,
}

impl Cache {
    /// An empty cache. It is complete when the state of `named` objects with fixed names is known,
    /// and policies of these kinds if a mesh of the settings needs them.
    #[must_use]
    pub fn new(named: usize, policy_kinds: Vec<PolicyKind>) -> Self {
        Self {
            input: Input::empty(Cluster::empty()),
            live: Live::new(),
            fragments: Listing::default(),
            services: Listing::default(),
            slices: Listing::default(),
            namespaces: Listing::default(),
            policies: BTreeMap::new(),
            has_settings: false,
            known: HashSet::new(),
            named,
            policy_kinds,
        }
    }

    /// Whether every watch has listed its objects. No table may be made before.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let is_listed = |kind| self.policies.get(kind).is_some_and(Listing::is_complete);
        if !self.needed_policies().iter().all(is_listed) {
            return false;
        }
        let listings = [&self.fragments, &self.services, &self.slices, &self.namespaces];
        listings.into_iter().all(Listing::is_complete)
            && self.has_settings
            && self.known.len() == self.named
    }

    /// The policies that must be watched: a mesh of the settings routes by them.
    #[must_use]
    pub fn needed_policies(&self) -> Vec<PolicyKind> {
        if !self.has_settings {
            return Vec::new();
        }
        let mut kinds = PolicyKind::on(&self.input.meshes());
        kinds.retain(|kind| self.policy_kinds.contains(kind));
        kinds
    }

    /// Applies a change. Returns whether it may change what the controller writes.
    pub fn apply(&mut self, change: Change, now: Timestamp) -> bool {
        match change {
            Change::Fragment(event) => self.apply_fragment(event, now),
            Change::Settings(map) => self.apply_settings(map.as_deref(), now),
            Change::Service(event) => self.services.apply(
                event,
                &mut self.input.cluster,
                |cluster, service| cluster.put_service(&service),
                |cluster, service| cluster.remove_service(&service),
                Cluster::retain_services,
            ),
            Change::Slice(event) => self.slices.apply(
                event,
                &mut self.input.cluster,
                |cluster, slice| cluster.put_slice(&slice),
                |cluster, slice| cluster.remove_slice(&slice),
                Cluster::retain_slices,
            ),
            Change::Namespace(event) => self.namespaces.apply(
                event,
                &mut self.input.cluster,
                |cluster, namespace| cluster.put_namespace(&namespace),
                |cluster, namespace| cluster.remove_namespace(&namespace),
                Cluster::retain_namespaces,
            ),
            Change::Policy(kind, event) => {
                let listing = self.policies.entry(kind).or_default();
                policies::apply(listing, kind, event, &mut self.live, &mut self.input.policies)
            }
            Change::Owned(reference, object) => {
                self.apply_owned(reference, object);
                true
            }
        }
    }

    /// The settings have a watch of their own, which continues if they lose the label, so they are
    /// ignored here.
    fn apply_fragment(&mut self, event: Event<ConfigMap>, now: Timestamp) -> bool {
        self.fragments.apply(
            event,
            &mut self.input,
            |input, map| !is_settings(&map) && input.put(&map, None, now),
            |input, map| !is_settings(&map) && input.remove(&map),
            Input::retain_fragments,
        )
    }

    fn apply_settings(&mut self, map: Option<&ConfigMap>, now: Timestamp) -> bool {
        let is_first = !mem::replace(&mut self.has_settings, true);
        let is_changed = match map {
            Some(map) => self.input.put(map, None, now),
            None => self.input.remove_settings(),
        };
        is_first || is_changed
    }

    fn apply_owned(&mut self, reference: ObjectRef, object: Option<Box<DynamicObject>>) {
        self.known.insert(reference.clone());
        match object {
            Some(object) => drop(self.live.insert(reference, *object)),
            None => drop(self.live.remove(&reference)),
        }
    }
}

fn is_settings(map: &ConfigMap) -> bool {
    Role::of(map) == Some(Role::Settings)
}
