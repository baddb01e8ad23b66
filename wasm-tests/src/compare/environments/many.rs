//! `skycap up --no-wait` of one more sandbox in a namespace that has many: on a real API server, with the
//! ReplicaSets that the forks' Deployments make, and without Pods.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use skycap::desired::istio::PluginKind;
use tokio::process::Command;

use super::{median, render::workload, row, spread};
use crate::{
    cluster::{Cluster, program},
    compare::Row,
    progress::Progress,
};

/// Times the first sandboxes of a namespace, and those after [`SANDBOXES`] others.
pub(super) async fn many() -> anyhow::Result<Vec<Row>> {
    let _progress = Progress::new(&format!("opening {SANDBOXES} environments"));
    let mut cluster = Cluster::start(PluginKind::WasmPlugin).await?;
    cluster.install().await?;
    cluster.start_controllers("deployment-controller")?;
    let text: String = WORKLOADS.map(workload).concat();
    for mut object in serde_saphyr::from_multiple::<Value>(&text)? {
        object["metadata"]["namespace"] = "shop".into();
        cluster.apply(&object).await?;
    }
    // `up` asks for skycap's report, which a controller would have written.
    skycap(&cluster, &["sync", "--plugin", "WasmPlugin", "--module-url", "file:///skycap.wasm"])
        .await?;
    let mut first = rounds(&cluster, "first").await?;
    stream::iter(0..SANDBOXES)
        .map(|number| up(&cluster, format!("pr-{number}"), &WORKLOADS))
        .buffer_unordered(4)
        .try_collect::<Vec<_>>()
        .await?;
    let mut last = rounds(&cluster, "last").await?;
    let ratio = median(&mut last)?.as_secs_f64() / median(&mut first)?.as_secs_f64();
    let many = format!("{SANDBOXES} sandboxes of {} forks", WORKLOADS.len());
    Ok(vec![
        row(
            "skycap up --no-wait of one fork, in a namespace without sandboxes",
            spread(&mut first)?,
        ),
        row(format!("the same beside {many}"), spread(&mut last)?),
        row("ratio of the two medians", format!("{ratio:.2}")),
    ])
}

/// Opens a few sandboxes, one after the other.
async fn rounds(cluster: &Cluster, name: &str) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for number in 0..ROUNDS {
        times.push(up(cluster, format!("{name}-{number}"), &WORKLOADS[..1]).await?);
    }
    Ok(times)
}

async fn up(cluster: &Cluster, name: String, workloads: &[&str]) -> anyhow::Result<Duration> {
    let forks = workloads.iter().flat_map(|workload| ["--fork", *workload]);
    let up = ["up", &name, "-n", "shop", "--no-wait"];
    skycap(cluster, &up.into_iter().chain(forks).collect::<Vec<_>>()).await
}

/// Runs the command, and returns how long it took.
async fn skycap(cluster: &Cluster, args: &[&str]) -> anyhow::Result<Duration> {
    let mut command = Command::new(program());
    command.args(args).env("KUBECONFIG", cluster.kubeconfig(cluster.admin_token())?);
    let begun = Instant::now();
    let output = command.output().await.context("cannot run skycap")?;
    let took = begun.elapsed();
    ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(took)
}

const SANDBOXES: usize = 200;
const WORKLOADS: [&str; 3] = ["frontend", "cart", "pricing"];
const ROUNDS: usize = 15;
