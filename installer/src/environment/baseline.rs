//! The baseline of a namespace: the workloads that can be forked, and everything that selects Pods.

mod sources;

use std::collections::BTreeMap;

use kube::core::DynamicObject;

use self::sources::selectors;
pub use self::sources::{IN_ROOT, OPTIONAL, REQUIRED};
use super::{
    hosts::HostPolicy,
    labels::SANDBOX_LABEL,
    queues,
    selector::{Labels, Purpose, Selector},
    workload::{Workload, WorkloadKind},
};
use crate::{
    names::KIND_LABEL,
    objects::{ObjectRef, is_owned, reference_of},
    problem::Problem,
    table::queue::Queue,
};

/// What a namespace has, as far as a fork depends on it.
#[derive(Debug, Clone, Default)]
pub struct Baseline {
    /// The workloads that can be forked, and the forks of sandboxes.
    pub workloads: BTreeMap<Workload, DynamicObject>,
    /// The Services.
    pub services: Vec<DynamicObject>,
    /// What selects Pods.
    pub selectors: Vec<Selector>,
    /// The queues, parsed or rejected.
    pub(super) queues: BTreeMap<String, Result<Queue, Problem>>,
    /// Workloads of an API version that nothing serves any more, each with the version.
    pub(super) outdated: BTreeMap<String, String>,
    /// What is about Services by their hosts.
    pub(super) host_policies: Vec<HostPolicy>,
    /// The resources, by name.
    pub resources: BTreeMap<String, DynamicObject>,
    /// Objects of other kinds, as far as a sandbox wants or has one of their names.
    pub others: Vec<DynamicObject>,
}

impl Baseline {
    /// The baseline that these objects of one namespace form. Objects of other kinds mean nothing here.
    pub fn new(objects: impl IntoIterator<Item = DynamicObject>) -> Self {
        let mut baseline = Self::default();
        for object in objects {
            baseline.add(object);
        }
        baseline
    }

    /// The labels of a Pod that a workload makes.
    #[must_use]
    pub fn pod_labels(workload: &DynamicObject) -> Labels {
        let labels = workload.data.pointer("/spec/template/metadata/labels");
        labels.and_then(|labels| serde_json::from_value(labels.clone()).ok()).unwrap_or_default()
    }

    /// All objects that it has by name.
    pub fn objects(&self) -> impl Iterator<Item = &DynamicObject> {
        self.services.iter().chain(self.workloads.values()).chain(&self.others)
    }

    /// Whether it has this object.
    #[must_use]
    pub fn has(&self, reference: &ObjectRef) -> bool {
        self.objects().any(|object| reference_of(object) == *reference)
    }

    /// Adds an object whose name a sandbox wants or has, of whatever kind.
    pub fn add_named(&mut self, object: DynamicObject) {
        let types = object.types.clone().unwrap_or_default();
        if types.kind == "Service" || WorkloadKind::of(&types.api_version, &types.kind).is_some() {
            self.add(object);
        } else {
            self.others.push(object);
        }
    }

    /// Adds an object of Istio's root namespace: there, policies are about the Pods of all namespaces.
    pub fn add_of_root(&mut self, object: &DynamicObject) {
        // skycap's own are nothing to add to.
        if is_owned(object) {
            return;
        }
        let policies = selectors(object).into_iter().filter(|one| one.purpose == Purpose::Policy);
        self.selectors.extend(policies);
        self.host_policies.extend(HostPolicy::of(object));
    }

    /// Adds an object.
    pub fn add(&mut self, object: DynamicObject) {
        let types = object.types.clone().unwrap_or_default();
        self.selectors.extend(selectors(&object));
        self.host_policies.extend(HostPolicy::of(&object));
        self.queues.extend(queues::parse(&object));
        if types.kind == "Service" {
            self.services.push(object);
        } else if let Some(kind) = WorkloadKind::of(&types.api_version, &types.kind) {
            let name = object.metadata.name.clone().unwrap_or_default();
            self.workloads.insert(Workload { kind, name }, object);
        } else if WorkloadKind::ALL.iter().any(|kind| kind.names().1 == types.kind) {
            let name = object.metadata.name.unwrap_or_default();
            let workload = format!("{}/{name}", types.kind.to_ascii_lowercase());
            self.outdated.insert(workload, types.api_version);
        } else if types.kind == "ConfigMap" && is_resource(&object) {
            self.resources.insert(object.metadata.name.clone().unwrap_or_default(), object);
        }
    }
}

/// The sandbox that an object belongs to.
#[must_use]
pub fn sandbox_of(object: &DynamicObject) -> Option<&str> {
    object.metadata.labels.as_ref()?.get(SANDBOX_LABEL).map(String::as_str)
}

fn is_resource(map: &DynamicObject) -> bool {
    let labels = map.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(KIND_LABEL)).is_some_and(|kind| kind == "resource")
}
