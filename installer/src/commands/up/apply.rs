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

use super::{progress::Report, repository};
use crate::{
    cli::message,
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
        let report = Report::new();
        // What changes must not be routed to meanwhile. What does not change keeps its requests.
        let changes = !self.plan.objects.is_empty() || !self.plan.is_enabled();
        let first = if changes { &self.plan.disabled } else { &self.plan.config_map };
        let claim = self.claim(first).await?;
        for step in &self.plan.objects.steps {
            self.check(&claim).await?;
            report.now(&format!("writing {}", step.reference()));
            let step = claim.own(step.clone());
            let reference = step.reference();
            write(self.client, &step).await.with_context(|| format!("cannot write {reference}"))?;
        }
        if wait {
            self.wait_for_forks(&claim, &report, deadline).await?;
        }
        if changes {
            let live = self.check(&claim).await?;
            self.put(&self.plan.config_map, &claim.token, Some(&live)).await?;
        }
        // Without a Service, there is nothing to route.
        if !wait || self.sandbox.services.is_empty() {
            return Ok(None);
        }
        let (meshes, istio) = mesh.find(self.client).await?;
        let (namespace, name) = (&self.sandbox.namespace, &self.sandbox.spec.name);
        let awaited = Awaited { namespace, name, meshes: &meshes, istio: &istio };
        let left = deadline.saturating_duration_since(Instant::now());
        let served =
            awaited.until_served(self.client, left, |why| report.now(&format!("routing: {why}")));
        served.await.map(Some)
    }

    /// Makes the ConfigMap this run's.
    async fn claim(&self, config_map: &Object) -> anyhow::Result<Claim> {
        let token = token();
        let live = self.put(config_map, &token, self.plan.live.as_ref()).await?;
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
        Ok(Claim { token, owner })
    }

    /// Writes the ConfigMap, if nobody has changed it since it was `live`.
    async fn put(
        &self,
        config_map: &Object,
        token: &str,
        live: Option<&DynamicObject>,
    ) -> anyhow::Result<DynamicObject> {
        let reference = self.sandbox.reference();
        let mut object = config_map.0.clone();
        // Who updates it by hand does not take it from its repository.
        let kept =
            live.and_then(|live| live.metadata.annotations.as_ref()?.get(REPOSITORY).cloned());
        let repository = repository().or(kept).map(|name| (REPOSITORY.to_owned(), name));
        let token = (TOKEN.to_owned(), token.to_owned());
        object.metadata.annotations = Some([token].into_iter().chain(repository).collect());
        object.metadata.resource_version =
            live.and_then(|live| live.metadata.resource_version.clone());
        let params = PatchParams::apply(MANAGER).force();
        let written = api(self.client, &reference)
            .patch(&reference.name, &params, &Patch::Apply(object))
            .await;
        match written {
            Err(kube::Error::Api(status)) if status.code == 409 => Err(self.lost()),
            written => written.with_context(|| format!("cannot write {reference}")),
        }
    }

    /// # Errors
    /// The ConfigMap is no longer this run's.
    async fn check(&self, claim: &Claim) -> anyhow::Result<DynamicObject> {
        let reference = self.sandbox.reference();
        let live = api(self.client, &reference).get_opt(&reference.name).await;
        let live = live.with_context(|| format!("cannot read {reference}"))?;
        let Some(live) = live.filter(|live| live.metadata.uid.as_ref() == Some(&claim.owner.uid))
        else {
            anyhow::bail!("{reference} was deleted meanwhile; run this command again");
        };
        let annotations = live.metadata.annotations.as_ref();
        if annotations.and_then(|all| all.get(TOKEN)) != Some(&claim.token) {
            return Err(self.lost());
        }
        Ok(live)
    }

    fn lost(&self) -> anyhow::Error {
        anyhow::anyhow!(
            "another `skycap up` changes {} at the same time, and its result counts; wait for it, \
             then run this command again if need be",
            self.sandbox.reference()
        )
    }

    async fn wait_for_forks(
        &self,
        claim: &Claim,
        report: &Report,
        deadline: Instant,
    ) -> anyhow::Result<()> {
        loop {
            let missing = match self.missing(claim, report).await {
                // An API server that is away for a while ends nothing.
                Err(error) if is_unreachable(&error) => vec![message(&error)],
                missing => missing?,
            };
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

/// Whether the API server did not answer at all, or with an error that is its own and passes.
fn is_unreachable(error: &anyhow::Error) -> bool {
    let kube = error.chain().find_map(|cause| cause.downcast_ref());
    match kube {
        Some(kube::Error::Service(_) | kube::Error::HyperError(_)) => true,
        Some(kube::Error::Api(status)) => status.code == 429 || status.code >= 500,
        _ => false,
    }
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
