//! What `up` writes for one resource of a sandbox.

use std::collections::BTreeSet;

use kube::core::DynamicObject;

use super::has_owner;
use crate::{
    desired::plan::{Live, Plan, Step},
    environment::{
        baseline::{Baseline, sandbox_of},
        labels::revision,
        resource::{Instance, record},
        sandbox::Sandbox,
    },
    names::RESOURCE_LABEL,
    objects::{Object, ObjectRef, reference_of},
};

/// The writes for one resource. Its record owns everything else of it.
#[derive(Debug, Clone)]
pub struct ResourcePlan {
    /// The record, which is written first.
    pub record: Object,
    /// The uid of the record that is there.
    pub live: Option<String>,
    /// The Secrets, which are created if they do not exist.
    pub secrets: Vec<Object>,
    /// The writes of the record and of the objects.
    pub steps: Plan,
    /// The object that has to be ready before the forks start.
    pub ready: ObjectRef,
}

impl ResourcePlan {
    /// The writes as one plan. The Secrets are part of it when the record changes: nobody can see whether
    /// they are there.
    #[must_use]
    pub fn whole(&self) -> Plan {
        let mut plan = self.steps.clone();
        let record = self.record.reference();
        if let Some(place) = plan.steps.iter().position(|step| step.reference() == record) {
            let secrets = self.secrets.iter().cloned().map(Step::Once);
            plan.steps.splice(place + 1..place + 1, secrets);
        }
        plan
    }

    /// The plan for an instance. `own` are the sandbox's objects, and `owner` is the uid of its ConfigMap.
    pub(super) fn new(
        instance: &Instance,
        own: &Live,
        owner: Option<&String>,
    ) -> anyhow::Result<Self> {
        let record = instance.record.reference();
        let live = own.get(&record);
        if live.is_some_and(|live| live.metadata.deletion_timestamp.is_some()) {
            return Err(Ending(record).into());
        }
        // What an owner before this one has is about to be collected: it is written again.
        let is_kept = live.is_some_and(|live| has_owner(live, owner));
        let uid = live.and_then(|live| live.metadata.uid.clone());
        let record_owner = uid.as_ref().filter(|_| is_kept);
        let (mut found, mut wanted) = (Live::new(), vec![instance.record.clone()]);
        found.extend(live.filter(|_| is_kept).map(|live| (record, live.clone())));
        for object in &instance.objects {
            let reference = object.reference();
            let Some(live) = own.get(&reference) else {
                wanted.push(object.clone());
                continue;
            };
            // Not by its fields: the API server writes a quantity in its own way, and other controllers
            // add to Pods.
            let is_same = revision(live) == revision(&object.0);
            let is_kept = has_owner(live, record_owner);
            if is_same && is_kept {
                continue;
            }
            if !is_same && UNCHANGEABLE.contains(&reference.kind.as_str()) {
                return Err(Unchangeable(reference).into());
            }
            found.extend(is_kept.then(|| (reference, live.clone())));
            wanted.push(object.clone());
        }
        Ok(Self {
            record: instance.record.clone(),
            live: uid,
            secrets: instance.secrets.clone(),
            steps: Plan::new(wanted, &[], &found),
            ready: instance.ready.clone(),
        })
    }
}

/// What has to be known of a namespace for the plan of a sandbox, beside its baseline: objects with the
/// names that it wants, and the records of the resources that it has had.
#[must_use]
pub fn needed(sandbox: &Sandbox, live: Option<&DynamicObject>) -> Vec<ObjectRef> {
    let all = sandbox.resource_objects().chain(sandbox.objects()).map(Object::reference);
    let former = former(live).into_iter();
    let former = former.map(|name| ObjectRef::config_map(&sandbox.namespace, &name));
    let all: BTreeSet<_> = all.chain(former).collect();
    all.into_iter().collect()
}

/// The objects that the records of the sandbox's resources list.
#[must_use]
pub fn recorded(sandbox: &Sandbox, baseline: &Baseline) -> Vec<ObjectRef> {
    let names: Vec<_> = records_of(sandbox).collect();
    let own = baseline.others.iter().filter(|object| {
        names.contains(&reference_of(object)) && sandbox_of(object) == Some(&sandbox.spec.name)
    });
    own.flat_map(record::objects).collect()
}

/// The names of the records that a sandbox's ConfigMap lists.
#[must_use]
pub fn former(live: Option<&DynamicObject>) -> BTreeSet<String> {
    let annotations = live.and_then(|live| live.metadata.annotations.as_ref());
    let names = annotations.and_then(|all| all.get(RECORDS)).map_or("", String::as_str);
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The record of the resource that an object belongs to.
pub(super) fn record_of(object: &DynamicObject) -> Option<ObjectRef> {
    let name = object.metadata.labels.as_ref()?.get(RESOURCE_LABEL)?;
    Some(ObjectRef::config_map(object.metadata.namespace.as_deref()?, name))
}

pub(super) fn records_of(sandbox: &Sandbox) -> impl Iterator<Item = ObjectRef> {
    sandbox.resources.iter().map(|instance| instance.record.reference())
}

/// The ConfigMap of a sandbox, with the names of these records.
pub(super) fn with_records(mut map: Object, names: &BTreeSet<String>) -> Object {
    if !names.is_empty() {
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let annotations = map.0.metadata.annotations.get_or_insert_default();
        annotations.insert(RECORDS.into(), names.join(","));
    }
    map
}

/// A resource of an earlier sandbox of this name.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} is still being deleted, with a Job of its resource; nothing was changed; wait for it with \
     `skycap down`, then run this command again"
)]
pub struct Ending(ObjectRef);

/// A Pod or Job that has changed in the resource.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} has changed in its resource, and Kubernetes does not change a Pod or Job; nothing was changed; \
     run `skycap down` first, or let the resource have a Deployment or StatefulSet"
)]
pub struct Unchangeable(ObjectRef);

/// The annotation of a sandbox's ConfigMap with the names of its resources' records.
const RECORDS: &str = "skycap.dev/resources";
/// Kinds whose objects are never changed.
const UNCHANGEABLE: [&str; 2] = ["Job", "Pod"];
