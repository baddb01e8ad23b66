//! Makes a sandbox what its plan says, in an order in which nothing is ever half routed: disabled first,
//! enabled last. Section 9 of the contract.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Client;

use super::{
    claim::{Claim, own, token},
    patience::Patience,
    progress::Report,
};
use crate::{
    commands::mesh::MeshArgs,
    desired::plan::Step,
    environment::{
        plan::{SandboxPlan, displaced},
        sandbox::Sandbox,
    },
    objects::{Object, ObjectRef},
    observed::{
        api::write,
        forks::ForkState,
        namespace::read_own,
        served::{Awaited, Served},
    },
    table::settings::Settings,
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
        settings: anyhow::Result<Option<Settings>>,
    ) -> anyhow::Result<Option<Served>> {
        let deadline = Instant::now() + timeout;
        let report = Report::new("up");
        let patience = Patience { deadline, report: &report };
        // What changes must not be routed to meanwhile. What does not change keeps its requests.
        let mut is_enabled = !self.plan.changes_objects() && self.plan.is_enabled();
        let first = if is_enabled { &self.plan.config_map } else { &self.plan.disabled };
        let token = token();
        let claim = patience.with(async || self.claim(first, &token).await).await?;
        self.write_resources(wait, &claim, &patience).await?;
        let mut steps = self.plan.objects.steps.clone();
        for _ in 0..ROUNDS {
            if is_enabled && !steps.is_empty() {
                self.update_config_map(&claim, &self.plan.disabled, &patience).await?;
                is_enabled = false;
            }
            for step in steps {
                self.write(&claim, &claim.owner, step, &patience).await?;
            }
            if wait {
                let forks = self.sandbox.forks.iter().map(|fork| fork.object.reference());
                self.wait_for("forks", forks.collect(), &claim, &patience).await?;
            }
            // A run that this one has displaced may have written until just now.
            steps = patience.with(async || self.changed(&claim).await).await?;
            if steps.is_empty() {
                break;
            }
        }
        if !is_enabled {
            self.update_config_map(&claim, &self.plan.config_map, &patience).await?;
        }
        // Without a Service, there is nothing to route.
        if !wait || self.sandbox.services.is_empty() {
            return Ok(None);
        }
        let (namespace, name) = (&self.sandbox.namespace, &self.sandbox.spec.name);
        let settings = settings?;
        let served = patience.with(async || {
            let found = mesh.clone().find_with(self.client, settings.as_ref()).await;
            let (meshes, istio) = found?;
            let awaited = Awaited { namespace, name, meshes: &meshes, istio: &istio };
            let left = deadline.saturating_duration_since(Instant::now());
            let progress = |why: &str| report.now(&format!("routing: {why}"));
            awaited.until_served(self.client, left, progress).await
        });
        served.await.map(Some)
    }

    /// Writes the ConfigMap as it shall be from now on.
    async fn update_config_map(
        &self,
        claim: &Claim,
        config_map: &Object,
        patience: &Patience<'_>,
    ) -> anyhow::Result<()> {
        let written = patience.with(async || {
            let live = self.check(claim).await?;
            self.put(config_map, &claim.token, Some(live)).await
        });
        written.await.map(drop)
    }

    /// Executes a step, whose object then has this owner.
    pub(super) async fn write(
        &self,
        claim: &Claim,
        owner: &OwnerReference,
        step: Step,
        patience: &Patience<'_>,
    ) -> anyhow::Result<()> {
        patience.report.now(&format!("writing {}", step.reference()));
        let step = own(step, owner);
        let written = patience.with(async || {
            self.check(claim).await?;
            let context = || format!("cannot write {}", step.reference());
            write(self.client, &step).await.with_context(context)
        });
        written.await
    }

    /// What is not as this run has written it.
    async fn changed(&self, claim: &Claim) -> anyhow::Result<Vec<Step>> {
        let (namespace, name) = (&self.sandbox.namespace, &self.sandbox.spec.name);
        let live = read_own(self.client, namespace, name).await?;
        Ok(displaced(self.sandbox, &live, &claim.owner.uid))
    }

    /// Waits until all of `objects` are ready; `what` they are.
    pub(super) async fn wait_for(
        &self,
        what: &str,
        objects: Vec<ObjectRef>,
        claim: &Claim,
        patience: &Patience<'_>,
    ) -> anyhow::Result<()> {
        let Patience { deadline, report } = *patience;
        loop {
            let missing =
                patience.with(async || self.missing(&objects, claim, report).await).await?;
            if missing.is_empty() {
                return Ok(());
            }
            report.now(&missing.join("; "));
            anyhow::ensure!(
                Instant::now() < deadline,
                "timed out waiting for the {what}, and the forks get no requests: {}; correct it and \
                 run this command again, or `skycap down {} -n {}`",
                missing.join("; "),
                self.sandbox.spec.name,
                self.sandbox.namespace
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// The objects that are not ready, each with what it waits for.
    async fn missing(
        &self,
        objects: &[ObjectRef],
        claim: &Claim,
        report: &Report,
    ) -> anyhow::Result<Vec<String>> {
        self.check(claim).await?;
        let mut missing = Vec::new();
        for reference in objects {
            let state = ForkState::read(self.client, reference).await?;
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

const POLL: Duration = Duration::from_millis(300);
/// How often what another run has changed meanwhile is written again.
const ROUNDS: usize = 3;
