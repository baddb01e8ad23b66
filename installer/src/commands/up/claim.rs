//! How a run of `up` makes a sandbox its own.
//!
//! Two `up` of one sandbox at once: each writes a token of its own into the ConfigMap first, and looks
//! whether it is still there before each write. So the one that began last wins, and the other says so. What
//! the other one was writing at that moment, the winner finds before it enables the sandbox.

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    api::{ObjectMeta, Patch},
    core::DynamicObject,
};
use serde_json::{Map, Value, json};

use super::{apply::Application, repository};
use crate::{
    desired::plan::Step,
    environment::plan::REPOSITORY,
    names::MANAGER,
    objects::{Object, ObjectRef},
    observed::api::{api, apply_params, merge_params},
};

/// A ConfigMap that belongs to this run.
pub(super) struct Claim {
    pub(super) token: String,
    pub(super) owner: OwnerReference,
}

/// The step, with an owner of what it writes.
pub(super) fn own(step: Step, owner: &OwnerReference) -> Step {
    match step {
        Step::Create(object) => Step::Create(owned(object, owner)),
        Step::Once(object) => Step::Once(owned(object, owner)),
        Step::Update(object, live) => Step::Update(owned(object, owner), live),
        Step::Delete(reference) => Step::Delete(reference),
    }
}

/// The object, with this owner alone.
pub(super) fn owned(mut object: Object, owner: &OwnerReference) -> Object {
    object.0.metadata.owner_references = Some(vec![owner.clone()]);
    object
}

/// A ConfigMap with this uid, as the owner of other objects.
pub(super) fn owner(config_map: &ObjectRef, uid: String) -> OwnerReference {
    OwnerReference {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        name: config_map.name.clone(),
        uid,
        // True would need a permission on `configmaps/finalizers`.
        block_owner_deletion: Some(false),
        controller: Some(false),
    }
}

impl Application<'_> {
    /// Makes the ConfigMap this run's.
    pub(super) async fn claim(&self, config_map: &Object, token: &str) -> anyhow::Result<Claim> {
        let live = match &self.plan.live {
            Some(live) => Some(live.clone()),
            None => self.since(token).await?,
        };
        let live = self.put(config_map, token, live).await?;
        let uid = live.metadata.uid.context("the API server gave the ConfigMap no uid")?;
        Ok(Claim { token: token.into(), owner: owner(&self.sandbox.reference(), uid) })
    }

    /// The ConfigMap that there was not when the plan was made: this run's, if it asks again.
    async fn since(&self, token: &str) -> anyhow::Result<Option<DynamicObject>> {
        let live = self.read().await?;
        live.map(|live| self.with_token(live, token)).transpose()
    }

    /// Writes the ConfigMap, if nobody else has changed it since it was `live`.
    pub(super) async fn put(
        &self,
        config_map: &Object,
        token: &str,
        mut live: Option<DynamicObject>,
    ) -> anyhow::Result<DynamicObject> {
        let reference = self.sandbox.reference();
        loop {
            match self.put_once(config_map, token, live.as_ref()).await {
                // It may be this run's write before, whose answer was lost.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                    live = Some(self.own(token).await?);
                }
                written => return written.with_context(|| format!("cannot write {reference}")),
            }
        }
    }

    /// Data of others goes first: an apply leaves it, and a `ttl` beside an `expires` is invalid.
    async fn put_once(
        &self,
        config_map: &Object,
        token: &str,
        live: Option<&DynamicObject>,
    ) -> Result<DynamicObject, kube::Error> {
        let reference = self.sandbox.reference();
        let maps = api(self.client, &reference);
        let mut object = claimed(config_map, token, live);
        if let Some(data) = live.and_then(|live| without_foreign(&object, live)) {
            let ObjectMeta { uid, resource_version, .. } = &object.metadata;
            let annotations = json!({TOKEN: token});
            let metadata = json!({"uid": uid, "resourceVersion": resource_version, "annotations": annotations});
            let patch = Patch::Merge(json!({"metadata": metadata, "data": data}));
            let params = merge_params();
            let cleaned = maps.patch(&reference.name, &params, &patch).await?;
            object.metadata.resource_version = cleaned.metadata.resource_version;
        }
        let params = apply_params();
        maps.patch(&reference.name, &params, &Patch::Apply(object)).await
    }

    /// # Errors
    /// The ConfigMap is no longer this run's.
    pub(super) async fn check(&self, claim: &Claim) -> anyhow::Result<DynamicObject> {
        let live = self.own(&claim.token).await?;
        if live.metadata.uid.as_ref() == Some(&claim.owner.uid) {
            return Ok(live);
        }
        Err(self.deleted())
    }

    /// The ConfigMap as it is, if it has this run's token.
    async fn own(&self, token: &str) -> anyhow::Result<DynamicObject> {
        let live = self.read().await?.ok_or_else(|| self.deleted())?;
        self.with_token(live, token)
    }

    async fn read(&self) -> anyhow::Result<Option<DynamicObject>> {
        let reference = self.sandbox.reference();
        let live = api(self.client, &reference).get_opt(&reference.name).await;
        live.with_context(|| format!("cannot read {reference}"))
    }

    fn with_token(&self, live: DynamicObject, token: &str) -> anyhow::Result<DynamicObject> {
        match live.metadata.annotations.as_ref().and_then(|all| all.get(TOKEN)) {
            Some(found) if found == token => Ok(live),
            _ => Err(self.lost()),
        }
    }

    fn deleted(&self) -> anyhow::Error {
        let reference = self.sandbox.reference();
        anyhow::anyhow!("{reference} was deleted meanwhile; run this command again")
    }

    fn lost(&self) -> anyhow::Error {
        anyhow::anyhow!(
            "another `skycap up` changes {} at the same time, and its result counts; wait for it, \
             then run this command again if need be",
            self.sandbox.reference()
        )
    }
}

/// The ConfigMap as a run with this token writes it.
pub(super) fn claimed(
    config_map: &Object,
    token: &str,
    live: Option<&DynamicObject>,
) -> DynamicObject {
    let mut object = config_map.0.clone();
    // Who updates it by hand does not take it from its repository.
    let kept = live.and_then(|live| live.metadata.annotations.as_ref()?.get(REPOSITORY).cloned());
    let repository = repository().or(kept).map(|name| (REPOSITORY.to_owned(), name));
    let token = (TOKEN.to_owned(), token.to_owned());
    let annotations = object.metadata.annotations.get_or_insert_default();
    annotations.extend([token].into_iter().chain(repository));
    object.metadata.resource_version = live.and_then(|live| live.metadata.resource_version.clone());
    // Without the uid, an apply makes again what was deleted meanwhile.
    object.metadata.uid = live.and_then(|live| live.metadata.uid.clone());
    object
}

/// A merge patch of the data that removes what others have set and `config_map` does not have; `None` if
/// there is nothing to remove.
pub(super) fn without_foreign(config_map: &DynamicObject, live: &DynamicObject) -> Option<Value> {
    let others = live.metadata.managed_fields.iter().flatten().filter(|entry| {
        entry.manager.as_deref() != Some(MANAGER) || entry.operation.as_deref() != Some("Apply")
    });
    let fields = others.filter_map(|entry| entry.fields_v1.as_ref()?.0.get("f:data")?.as_object());
    let names = fields.flatten().filter_map(|(name, _)| name.strip_prefix("f:"));
    let foreign = names.filter(|name| config_map.data["data"].get(name).is_none());
    let patch: Map<_, _> = foreign.map(|name| (name.to_owned(), Value::Null)).collect();
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// Different for each run: two of them on one machine differ in their process, others in the time.
pub(super) fn token() -> String {
    format!("{}-{}", Timestamp::now().as_nanosecond(), std::process::id())
}

/// The annotation with the token of the last run.
pub(super) const TOKEN: &str = "skycap.dev/up";
