//! Writes the resources of a sandbox: the record first, which owns the rest.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use kube::api::Patch;

use super::{
    apply::Application,
    claim::{Claim, owned, owner},
    patience::Patience,
};
use crate::{
    desired::plan::Step,
    environment::{plan::ResourcePlan, resource::random},
    objects::Object,
    observed::api::{api, apply_params, create_params},
};

impl Application<'_> {
    /// Writes the resources. With `wait`, waits until they are ready.
    pub(super) async fn write_resources(
        &self,
        wait: bool,
        claim: &Claim,
        patience: &Patience<'_>,
    ) -> anyhow::Result<()> {
        for resource in &self.plan.resources {
            self.write_resource(claim, resource, patience).await?;
        }
        if !wait {
            return Ok(());
        }
        let resources = self.plan.resources.iter().map(|resource| resource.ready.clone());
        self.wait_for("resources", resources.collect(), claim, patience).await
    }

    /// Writes what a resource needs.
    async fn write_resource(
        &self,
        claim: &Claim,
        resource: &ResourcePlan,
        patience: &Patience<'_>,
    ) -> anyhow::Result<()> {
        let record = resource.record.reference();
        let is_record = |step: &&Step| step.reference() == record;
        let changes = resource.steps.steps.iter().any(|step| is_record(&step));
        let uid = match (&resource.live, changes) {
            (Some(uid), false) => uid.clone(),
            _ => self.write_record(claim, &resource.record, patience).await?,
        };
        // The record's own, whose value stays, or else one of an earlier record, which is about to go.
        let is_new = resource.live.as_ref() != Some(&uid);
        let owner = owner(&record, uid);
        for secret in &resource.secrets {
            let secret = owned(secret.clone(), &owner);
            self.create_secret(claim, &secret, is_new, changes, patience).await?;
        }
        for step in resource.steps.steps.iter().filter(|step| !is_record(step)) {
            self.write(claim, &owner, step.clone(), patience).await?;
        }
        Ok(())
    }

    /// Writes the record. Returns its uid.
    async fn write_record(
        &self,
        claim: &Claim,
        record: &Object,
        patience: &Patience<'_>,
    ) -> anyhow::Result<String> {
        let reference = record.reference();
        patience.report.now(&format!("writing {reference}"));
        let Object(object) = owned(record.clone(), &claim.owner);
        let params = apply_params();
        let written = patience.with(async || {
            self.check(claim).await?;
            let maps = api(self.client, &reference);
            let written = maps.patch(&reference.name, &params, &Patch::Apply(&object)).await;
            written.with_context(|| format!("cannot write {reference}"))
        });
        let uid = written.await?.metadata.uid;
        uid.with_context(|| format!("the API server gave {reference} no uid"))
    }

    /// Creates a Secret with a random value, unless there is one. If that cannot be of this record
    /// (`is_new`), waits until it is gone. Who only updates a sandbox need not be permitted to create one.
    async fn create_secret(
        &self,
        claim: &Claim,
        secret: &Object,
        is_new: bool,
        is_required: bool,
        patience: &Patience<'_>,
    ) -> anyhow::Result<()> {
        let reference = secret.reference();
        let params = create_params();
        loop {
            let filled = random::filled(secret).ok().context("no random numbers; try again")?;
            let tries = Cell::new(0);
            let is_there = patience.with(async || {
                self.check(claim).await?;
                tries.set(tries.get() + 1);
                match api(self.client, &reference).create(&params, &filled.0).await {
                    // If this is another try, it may be of this run, and the answer was lost.
                    Err(kube::Error::Api(status)) if status.code == 409 => Ok(tries.get() == 1),
                    Err(kube::Error::Api(status)) if status.code == 403 && !is_required => {
                        Ok(false)
                    }
                    result => {
                        let context = || format!("cannot create {reference}");
                        result.map(|_| false).with_context(context)
                    }
                }
            });
            if !is_there.await? || !is_new {
                return Ok(());
            }
            patience
                .report
                .now(&format!("waiting until {reference} of an earlier sandbox is gone"));
            anyhow::ensure!(
                Instant::now() < patience.deadline,
                "{reference} exists, and it is not this sandbox's; remove it, or give the sandbox \
                 another name"
            );
            tokio::time::sleep(POLL).await;
        }
    }
}

const POLL: Duration = Duration::from_millis(200);
