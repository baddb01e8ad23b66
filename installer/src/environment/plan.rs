//! What `up` writes, as a value: the ConfigMap, the objects that it owns, and those that go.

mod resource;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use kube::core::DynamicObject;

pub use self::resource::{Ending, ResourcePlan, Unchangeable, former, needed, recorded};
use self::resource::{record_of, records_of, with_records};
use super::{
    baseline::{Baseline, sandbox_of},
    labels::revision,
    sandbox::{End, Sandbox},
};
use crate::{
    desired::plan::{Live, Plan, Step},
    names::KIND_LABEL,
    objects::{Object, ObjectRef, is_owned, reference_of},
};

/// The writes from what a namespace has of a sandbox to what it shall have.
#[derive(Debug, Clone)]
pub struct SandboxPlan {
    /// The ConfigMap, enabled: the last write.
    pub config_map: Object,
    /// The ConfigMap, disabled: the first write, and the state while everything else changes.
    pub disabled: Object,
    /// The resources, which are written and waited for before the forks.
    pub resources: Vec<ResourcePlan>,
    /// What else the ConfigMap owns.
    pub objects: Plan,
    /// The ConfigMap as it is; `None` for a new sandbox.
    pub live: Option<DynamicObject>,
}

impl SandboxPlan {
    /// The plan. `live` is the ConfigMap with the sandbox's name.
    ///
    /// # Errors
    /// A name that something else has, or an object that cannot be changed.
    pub fn new(
        sandbox: &Sandbox,
        end: End,
        baseline: &Baseline,
        live: Option<DynamicObject>,
    ) -> anyhow::Result<Self> {
        if live.as_ref().is_some_and(|live| !is_sandbox(live) || !is_owned(live)) {
            return Err(Taken(sandbox.reference()).into());
        }
        let (mut own, mut others) = (Live::new(), Vec::new());
        for object in baseline.objects() {
            match sandbox_of(object) {
                Some(name) if name == sandbox.spec.name && is_owned(object) => {
                    own.insert(reference_of(object), object.clone());
                }
                _ => others.push(reference_of(object)),
            }
        }
        let all = sandbox.resource_objects().chain(sandbox.objects());
        let all: Vec<_> = all.map(Object::reference).collect();
        if let Some(taken) = all.iter().find(|name| others.contains(name)) {
            return Err(Taken(taken.clone()).into());
        }
        let owner = live.as_ref().and_then(|live| live.metadata.uid.as_ref());
        let resources = sandbox.resources.iter();
        let resources: Result<_, _> =
            resources.map(|instance| ResourcePlan::new(instance, &own, owner)).collect();
        let unwanted = unwanted(&own, &all);
        let wanted: Vec<_> = sandbox.objects().cloned().collect();
        // What a ConfigMap before this one owns is about to be collected, however right it looks now:
        // it is written again, with its new owner.
        let names: Vec<_> = wanted.iter().map(Object::reference).collect();
        own.retain(|name, object| !names.contains(name) || has_owner(object, owner));
        let objects = Plan::new(wanted, &unwanted, &own);
        let now = records_of(sandbox).map(|record| record.name).collect();
        let meanwhile = &now | &former(live.as_ref());
        Ok(Self {
            config_map: with_records(sandbox.config_map(true, end)?, &now),
            disabled: with_records(sandbox.config_map(false, end)?, &meanwhile),
            resources: resources?,
            objects,
            live,
        })
    }

    /// Whether there is anything to write beside the ConfigMap.
    #[must_use]
    pub fn changes_objects(&self) -> bool {
        !self.objects.is_empty() || self.resources.iter().any(|one| !one.steps.is_empty())
    }

    /// Whether the ConfigMap is there, and its requests are routed.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        let live = self.live.as_ref();
        live.and_then(|live| live.data.pointer("/data/enabled")).is_some_and(|on| on == "true")
    }

    /// All writes as one plan, in which the ConfigMap is as it is at the end.
    #[must_use]
    pub fn whole(&self) -> Plan {
        let live =
            self.live.iter().map(|live| (self.config_map.reference(), live.clone())).collect();
        let mut plan = Plan::new(vec![self.config_map.clone()], &[], &live);
        plan.steps.extend(self.resources.iter().flat_map(|resource| resource.whole().steps));
        plan.steps.extend(self.objects.steps.iter().cloned());
        plan
    }
}

/// What of a sandbox's own objects goes: all that is not among the wanted ones. With the record of a
/// resource goes everything of it.
fn unwanted(own: &Live, wanted: &[ObjectRef]) -> Vec<ObjectRef> {
    let mut own = own.clone();
    own.retain(|name, _| !wanted.contains(name));
    let records: BTreeSet<_> = own.keys().cloned().collect();
    own.retain(|name, object| {
        record_of(object).is_none_or(|record| *name == record || !records.contains(&record))
    });
    own.into_keys().collect()
}

/// What of the forks and their Services, as they are, is not what `up` wrote for the ConfigMap with this uid. They
/// are compared by their revisions alone: a webhook may change what it likes.
#[must_use]
pub fn displaced(sandbox: &Sandbox, own: &[DynamicObject], uid: &String) -> Vec<Step> {
    let live: BTreeMap<_, _> = own.iter().map(|object| (reference_of(object), object)).collect();
    let is_ours = |object: &&Object| {
        live.get(&object.reference())
            .is_some_and(|live| revision(live) == revision(&object.0) && has_owner(live, Some(uid)))
    };
    let wanted: Vec<_> = sandbox.objects().collect();
    let writes = wanted.iter().filter(|object| !is_ours(object));
    let writes = writes.map(|object| Step::Create((*object).clone()));
    let names: Vec<_> = wanted.iter().map(|object| object.reference()).collect();
    let others = live.iter().filter(|(name, live)| {
        is_owned(live) && record_of(live).is_none() && !names.contains(name)
    });
    writes.chain(others.map(|(name, _)| Step::Delete(name.clone()))).collect()
}

/// Whether the ConfigMap with this uid owns an object, and nothing else does.
fn has_owner(object: &DynamicObject, uid: Option<&String>) -> bool {
    let owners = object.metadata.owner_references.iter().flatten();
    uid.is_some() && owners.map(|owner| Some(&owner.uid)).eq([uid])
}

/// Whether a ConfigMap is a sandbox, by its label.
#[must_use]
pub fn is_sandbox(map: &DynamicObject) -> bool {
    let labels = map.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(KIND_LABEL)).is_some_and(|kind| kind == "sandbox")
}

/// # Errors
/// The CI of another repository made the sandbox: two pull requests with one number must not change or
/// end each other's.
pub fn check_repository(live: Option<&DynamicObject>, own: Option<&str>) -> anyhow::Result<()> {
    let live = live.and_then(|live| live.metadata.annotations.as_ref());
    let (Some(found), Some(own)) = (live.and_then(|all| all.get(REPOSITORY)), own) else {
        return Ok(());
    };
    anyhow::ensure!(
        found == own,
        "the sandbox belongs to repository `{found}`, and this is a job of `{own}`; nothing was \
         changed; give sandboxes names that differ between repositories, such as `cart-pr-9`"
    );
    Ok(())
}

/// The annotation of a sandbox's ConfigMap with the repository whose CI made it.
pub const REPOSITORY: &str = "skycap.dev/repository";

/// A name that something else has.
#[derive(Debug, thiserror::Error)]
pub struct Taken(ObjectRef);

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} exists, and `skycap up` did not make it for this sandbox; nothing was changed; give \
             the sandbox another name, or remove the object",
            self.0
        )
    }
}
