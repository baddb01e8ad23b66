//! What `install` waits for: the controller, then the sidecars.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{Api, Client, ResourceExt as _, api::ListParams};

use crate::{
    commands::progress::Progress,
    names::{APP_LABEL, CONTROLLER, NAMESPACE},
    observed::{published::read_published, sidecars::uptake::Uptake},
};

/// Waits until a replica of the controller is available and all replicas are of this version.
pub(super) async fn wait_for_controller(client: &Client, deadline: Instant) -> anyhow::Result<()> {
    let deployments = Api::<Deployment>::namespaced(client.clone(), NAMESPACE);
    let progress = Progress::new("waiting for the controller");
    loop {
        let deployment = deployments.get(CONTROLLER).await;
        let deployment = deployment
            .with_context(|| format!("cannot read Deployment {NAMESPACE}/{CONTROLLER}"))?;
        let status = deployment.status.unwrap_or_default();
        let available = status.available_replicas.unwrap_or(0);
        let is_current = status.observed_generation == deployment.metadata.generation;
        if is_current && available > 0 && status.updated_replicas == status.replicas {
            return Ok(());
        }
        progress.say(&format!("{available} of 2 replicas are available"));
        if Instant::now() >= deadline {
            let why = waiting_reason(client).await.unwrap_or_default();
            anyhow::bail!(
                "timed out waiting for the controller: everything is applied, but no replica is \
                 available{why}; `kubectl -n {NAMESPACE} describe pods` shows more, then run this \
                 command again"
            );
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until every sidecar serves the table that the controller has compiled.
pub(super) async fn wait_for_sidecars(
    client: &Client,
    plugin: &str,
    deadline: Instant,
) -> anyhow::Result<()> {
    let progress = Progress::new("waiting for the sidecars");
    loop {
        // There is no report before the controller's first round.
        let published = read_published(client).await;
        let state = match published.map(|(summary, _)| summary.generation.parse()) {
            Ok(Ok(generation)) => {
                let uptake = Uptake::read(client, None, plugin, Some(generation)).await?;
                if uptake.behind.is_empty() {
                    anstream::eprintln!("{}", uptake.summary());
                    return Ok(());
                }
                let first = uptake.behind.iter().next();
                let first = first.map(|(pod, why)| format!("; {pod}: {why}"));
                uptake.summary() + &first.unwrap_or_default()
            }
            _ => "the controller has no table yet".to_owned(),
        };
        progress.say(&state);
        anyhow::ensure!(
            Instant::now() < deadline,
            "timed out waiting for the sidecars: everything is applied, but {state}; `skycap status` \
             shows why"
        );
        tokio::time::sleep(POLL).await;
    }
}

/// Why a container of the controller waits, such as `ErrImagePull`, with what the kubelet says about it.
async fn waiting_reason(client: &Client) -> Option<String> {
    let pods = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
    let params = ListParams::default().labels(&format!("{APP_LABEL}={CONTROLLER}"));
    let pods = pods.list(&params).await.ok()?;
    pods.into_iter().find_map(|pod| {
        let name = pod.name_any();
        let containers = pod.status?.container_statuses?;
        let waiting = containers.into_iter().find_map(|container| container.state?.waiting)?;
        let message = waiting.message.map(|message| format!(": {message}")).unwrap_or_default();
        Some(format!(" (Pod {name}: {}{message})", waiting.reason?))
    })
}

const POLL: Duration = Duration::from_millis(500);
