//! What `up` writes, as a value: the ConfigMap, the objects that it owns, and those that go.

use std::{collections::BTreeMap, fmt};

use kube::core::DynamicObject;

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
    /// The ConfigMap, disabled: the first write, and the state while `objects` change.
    pub disabled: Object,
    /// What the ConfigMap owns.
    pub objects: Plan,
    /// The ConfigMap as it is; `None` for a new sandbox.
    pub live: Option<DynamicObject>,
}

impl SandboxPlan {
    /// The plan. `live` is the ConfigMap with the sandbox's name.
    ///
    /// # Errors
    /// A name that something else has.
    pub fn new(
        sandbox: &Sandbox,
        end: End,
        baseline: &Baseline,
        live: Option<DynamicObject>,
    ) -> anyhow::Result<Self> {
        if live.as_ref().is_some_and(|live| !is_sandbox(live) || !is_owned(live)) {
            return Err(Taken(sandbox.reference()).into());
        }
        let existing = baseline.services.iter().chain(baseline.workloads.values());
        let (mut own, mut others) = (Live::new(), Vec::new());
        for object in existing {
            match sandbox_of(object) {
                Some(name) if name == sandbox.spec.name && is_owned(object) => {
                    own.insert(reference_of(object), object.clone());
                }
                _ => others.push(reference_of(object)),
            }
        }
        let wanted: Vec<_> = sandbox.objects().cloned().collect();
        if let Some(taken) = wanted.iter().map(Object::reference).find(|name| others.contains(name))
        {
            return Err(Taken(taken).into());
        }
        let unwanted: Vec<_> = own.keys().cloned().collect();
        // What a ConfigMap before this one owns is about to be collected, however right it looks now:
        // it is written again, with its new owner.
        let owner = live.as_ref().and_then(|live| live.metadata.uid.as_ref());
        let names: Vec<_> = wanted.iter().map(Object::reference).collect();
        own.retain(|name, object| !names.contains(name) || has_owner(object, owner));
        Ok(Self {
            config_map: sandbox.config_map(true, end)?,
            disabled: sandbox.config_map(false, end)?,
            objects: Plan::new(wanted, &unwanted, &own),
            live,
        })
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
        plan.steps.extend(self.objects.steps.iter().cloned());
        plan
    }
}

/// What of the sandbox's own objects, as they are, is not what `up` wrote for the ConfigMap with this uid. They
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
    let others = live.iter().filter(|(name, live)| is_owned(live) && !names.contains(name));
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
