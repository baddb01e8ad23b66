//! How a run of `up` makes a sandbox its own.
//!
//! Two `up` of one sandbox at once: each writes a token of its own into the ConfigMap first, and looks
//! whether it is still there before each write. So the one that began last wins, and the other says so. What
//! the other one was writing at that moment, the winner finds before it enables the sandbox.

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    api::{Patch, PatchParams},
    core::DynamicObject,
};

use super::{apply::Application, repository};
use crate::{
    desired::plan::Step,
    environment::plan::REPOSITORY,
    names::MANAGER,
    objects::{Object, ObjectRef},
    observed::api::api,
};

/// A ConfigMap that belongs to this run.
pub(super) struct Claim {
    pub(super) token: String,
    pub(super) owner: OwnerReference,
}

/// The step, with an owner of what it writes.
pub(super) fn own(step: Step, owner: &OwnerReference) -> Step {
    let own = |mut object: Object| {
        object.0.metadata.owner_references = Some(vec![owner.clone()]);
        object
    };
    match step {
        Step::Create(object) => Step::Create(own(object)),
        Step::Once(object) => Step::Once(own(object)),
        Step::Update(object, live) => Step::Update(own(object), live),
        Step::Delete(reference) => Step::Delete(reference),
    }
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
        let live = self.put(config_map, token, self.plan.live.clone()).await?;
        let uid = live.metadata.uid.context("the API server gave the ConfigMap no uid")?;
        Ok(Claim { token: token.into(), owner: owner(&self.sandbox.reference(), uid) })
    }

    /// Writes the ConfigMap, if nobody else has changed it since it was `live`.
    pub(super) async fn put(
        &self,
        config_map: &Object,
        token: &str,
        mut live: Option<DynamicObject>,
    ) -> anyhow::Result<DynamicObject> {
        let reference = self.sandbox.reference();
        let params = PatchParams::apply(MANAGER).force();
        loop {
            let object = claimed(config_map, token, live.as_ref());
            let maps = api(self.client, &reference);
            match maps.patch(&reference.name, &params, &Patch::Apply(object)).await {
                // It may be this run's write before, whose answer was lost.
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    live = Some(self.own(token).await?);
                }
                written => return written.with_context(|| format!("cannot write {reference}")),
            }
        }
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
        let reference = self.sandbox.reference();
        let live = api(self.client, &reference).get_opt(&reference.name).await;
        let live = live.with_context(|| format!("cannot read {reference}"))?;
        let live = live.ok_or_else(|| self.deleted())?;
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
    object
}

/// Different for each run: two of them on one machine differ in their process, others in the time.
pub(super) fn token() -> String {
    format!("{}-{}", Timestamp::now().as_nanosecond(), std::process::id())
}

/// The annotation with the token of the last run.
pub(super) const TOKEN: &str = "skycap.dev/up";
