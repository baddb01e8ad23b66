//! Makes a sandbox what its plan says, in an order in which nothing is ever half routed: disabled first,
//! enabled last. Section 9 of the contract.
//!
//! Two `up` of one sandbox at once: each writes a token of its own into the ConfigMap first, and looks
//! whether it is still there before each write. So the one that began last wins, and the other says so.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Client,
    api::{Patch, PatchParams},
    core::DynamicObject,
};

use super::{patience::Patience, progress::Report, repository};
use crate::{
    commands::mesh::MeshArgs,
    desired::plan::Step,
    environment::{
        plan::{REPOSITORY, SandboxPlan},
        sandbox::Sandbox,
    },
    names::MANAGER,
    objects::Object,
    observed::{
        api::{api, write},
        forks::ForkState,
        served::{Awaited, Served},
    },
};

/// One run of `up`.
pub(super) struct Application<'a> {
    pub(super) client: &'a Client,
    pub(super) sandbox: &'a Sandbox,
    pub(super) plan: &'a SandboxPlan,
}

impl Application<'_> {
    /// Executes the plan. With `wait`, waits until the forks are ready before they are routed to, and
    /// until the proxies serve them; the result says how many do.
    pub(super) async fn run(
        &self,
        wait: bool,
        timeout: Duration,
        mesh: MeshArgs,
    ) -> anyhow::Result<Option<Served>> {
        let deadline = Instant::now() + timeout;
        let report = Report::new("up");
        let patience = Patience { deadline, report: &report };
        // What changes must not be routed to meanwhile. What does not change keeps its requests.
        let changes = !self.plan.objects.is_empty() || !self.plan.is_enabled();
        let first = if changes { &self.plan.disabled } else { &self.plan.config_map };
        let token = token();
        let claim = patience.with(async || self.claim(first, &token).await).await?;
        for step in &self.plan.objects.steps {
            report.now(&format!("writing {}", step.reference()));
            let step = claim.own(step.clone());
            let written = patience.with(async || {
                self.check(&claim).await?;
                let context = || format!("cannot write {}", step.reference());
                write(self.client, &step).await.with_context(context)
            });
            written.await?;
        }
        if wait {
            self.wait_for_forks(&claim, &patience).await?;
        }
        if changes {
            let enabled = patience.with(async || {
                let live = self.check(&claim).await?;
                self.put(&self.plan.config_map, &claim.token, Some(live)).await
            });
            enabled.await?;
        }
        // Without a Service, there is nothing to route.
        if !wait || self.sandbox.services.is_empty() {
            return Ok(None);
        }
        let (namespace, name) = (&self.sandbox.namespace, &self.sandbox.spec.name);
        let served = patience.with(async || {
            let (meshes, istio) = mesh.clone().find(self.client).await?;
            let awaited = Awaited { namespace, name, meshes: &meshes, istio: &istio };
            let left = deadline.saturating_duration_since(Instant::now());
            let progress = |why: &str| report.now(&format!("routing: {why}"));
            awaited.until_served(self.client, left, progress).await
        });
        served.await.map(Some)
    }

    /// Makes the ConfigMap this run's.
    async fn claim(&self, config_map: &Object, token: &str) -> anyhow::Result<Claim> {
        let live = self.put(config_map, token, self.plan.live.clone()).await?;
        let uid = live.metadata.uid.context("the API server gave the ConfigMap no uid")?;
        let owner = OwnerReference {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            name: self.sandbox.spec.name.clone(),
            uid,
            // True would need a permission on `configmaps/finalizers`.
            block_owner_deletion: Some(false),
            controller: Some(false),
        };
        Ok(Claim { token: token.into(), owner })
    }

    /// Writes the ConfigMap, if nobody else has changed it since it was `live`.
    async fn put(
        &self,
        config_map: &Object,
        token: &str,
        mut live: Option<DynamicObject>,
    ) -> anyhow::Result<DynamicObject> {
        let reference = self.sandbox.reference();
        let params = PatchParams::apply(MANAGER).force();
        loop {
            let object = marked(config_map, token, live.as_ref());
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
    async fn check(&self, claim: &Claim) -> anyhow::Result<DynamicObject> {
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

    async fn wait_for_forks(&self, claim: &Claim, patience: &Patience<'_>) -> anyhow::Result<()> {
        let Patience { deadline, report } = *patience;
        loop {
            let missing = patience.with(async || self.missing(claim, report).await).await?;
            if missing.is_empty() {
                return Ok(());
            }
            report.now(&missing.join("; "));
            anyhow::ensure!(
                Instant::now() < deadline,
                "timed out waiting for the forks, and they get no requests: {}; correct it and \
                 run this command again, or `skycap down {} -n {}`",
                missing.join("; "),
                self.sandbox.spec.name,
                self.sandbox.namespace
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// The forks that are not ready, each with what it waits for.
    async fn missing(&self, claim: &Claim, report: &Report) -> anyhow::Result<Vec<String>> {
        self.check(claim).await?;
        let mut missing = Vec::new();
        for fork in &self.sandbox.forks {
            let reference = fork.object.reference();
            let state = ForkState::read(self.client, &reference).await?;
            report.state(&reference.name, &state);
            let why = match state {
                ForkState::Ready => continue,
                ForkState::Progressing(what) => what,
                ForkState::Failing(failure) => failure.to_string(),
            };
            missing.push(format!("{}: {why}", reference.name));
        }
        Ok(missing)
    }
}

/// The ConfigMap with this run's token. Who updates it by hand does not take it from its repository.
fn marked(config_map: &Object, token: &str, live: Option<&DynamicObject>) -> DynamicObject {
    let mut object = config_map.0.clone();
    let kept = live.and_then(|live| live.metadata.annotations.as_ref()?.get(REPOSITORY).cloned());
    let repository = repository().or(kept).map(|name| (REPOSITORY.to_owned(), name));
    let token = (TOKEN.to_owned(), token.to_owned());
    object.metadata.annotations = Some([token].into_iter().chain(repository).collect());
    object.metadata.resource_version = live.and_then(|live| live.metadata.resource_version.clone());
    object
}

/// A ConfigMap that belongs to this run.
struct Claim {
    token: String,
    owner: OwnerReference,
}

impl Claim {
    /// The step, with the ConfigMap as owner of what it writes.
    fn own(&self, step: Step) -> Step {
        let own = |mut object: Object| {
            object.0.metadata.owner_references = Some(vec![self.owner.clone()]);
            object
        };
        match step {
            Step::Create(object) => Step::Create(own(object)),
            Step::Update(object, live) => Step::Update(own(object), live),
            Step::Delete(reference) => Step::Delete(reference),
        }
    }
}

/// Different for each run: two of them on one machine differ in their process, others in the time.
fn token() -> String {
    format!("{}-{}", Timestamp::now().as_nanosecond(), std::process::id())
}

/// The annotation with the token of the last run.
const TOKEN: &str = "skycap.dev/up";
const POLL: Duration = Duration::from_millis(300);
