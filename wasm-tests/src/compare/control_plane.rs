//! The cost of the control plane: 10,000 sandboxes of two routes on a real API server, and what one
//! developer can add that costs most.

mod hostile;

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use skycap::{desired::istio::PluginKind, observed::api};
use skycap_core::config::PluginConfig;

use self::hostile::hostile;
use super::{Measured, Row};
use crate::{
    cluster::{Cluster, Controller, build_program, mesh, program},
    progress::Progress,
};

/// Starts a controller on a cluster with many sandboxes, changes one fragment at a time, and runs
/// the command on the same input.
///
/// # Errors
/// If a program does not start, or if the expected table does not appear.
pub async fn control_plane() -> anyhow::Result<Measured> {
    build_program()?;
    let cluster = Cluster::start(PluginKind::WasmPlugin).await?;
    cluster.install().await?;
    fill(&cluster).await?;
    let begun = Instant::now();
    let controller = Controller::start(&cluster, "compare", &[]).await?;
    let full = wait_for(&cluster, |table| table.keys.len() == SANDBOXES).await?;
    let applied = begun.elapsed();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let cpu = controller.cpu()?;
    let mut latencies = Vec::new();
    for number in 0..CHANGES {
        latencies.push(change_one(&cluster, number).await?);
    }
    latencies.sort();
    let change_cpu = (controller.cpu()? - cpu) / u32::try_from(2 * CHANGES)?;
    let resident = controller.resident_kib()? / 1024;
    let (explain, compile) = (explain(&cluster).await?, compile()?);
    drop((controller, cluster));
    let hostile = hostile().await?;
    let median = latencies.get(latencies.len() / 2).copied().unwrap_or_default();
    Ok(Measured {
        title: format!(
            "The control plane with {SANDBOXES} sandboxes of two routes, {} Services and as many \
             EndpointSlices ({})",
            2 * SANDBOXES + 2,
            if cfg!(debug_assertions) { "a debug build" } else { "a release build" },
        ),
        columns: vec!["what", "figure"],
        rows: [
            row("controller: from its start to the table in the mesh", milliseconds(applied)),
            row("controller: resident memory", format!("{resident} MB")),
            row("the plugin, as JSON", format!("{} KiB", full / 1024)),
            row(
                "one fragment toggled: until the mesh has the table, median of 20",
                milliseconds(median),
            ),
            row("one fragment toggled: CPU time of the controller", milliseconds(change_cpu)),
            row("skycap explain, from the table in the mesh", milliseconds(explain)),
            row("skycap compile, the same ConfigMaps in one file", milliseconds(compile)),
        ]
        .into_iter()
        .chain(hostile.rows())
        .collect(),
    })
}

fn row(name: &str, value: String) -> Row {
    Row { name: name.into(), values: vec![value] }
}

fn milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

/// Disables and enables one sandbox. Returns the time until the mesh has the table without it.
async fn change_one(cluster: &Cluster, number: usize) -> anyhow::Result<Duration> {
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), "shop");
    let name = format!("pr-{}", number * 37);
    let toggle = async |enabled: &str| {
        let patch = Patch::Merge(json!({"data": {"enabled": enabled}}));
        maps.patch(&name, &PatchParams::default(), &patch).await
    };
    toggle("false").await?;
    let begun = Instant::now();
    wait_for(cluster, |table| table.keys.len() == SANDBOXES - 1).await?;
    let took = begun.elapsed();
    toggle("true").await?;
    wait_for(cluster, |table| table.keys.len() == SANDBOXES).await?;
    Ok(took)
}

/// Waits for a table. Returns its size in bytes.
async fn wait_for(
    cluster: &Cluster,
    holds: impl Fn(&PluginConfig) -> bool,
) -> anyhow::Result<usize> {
    let mesh = mesh(cluster.plugin);
    let references = mesh.references();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let live = api::read(&cluster.client, &references[..1]).await?;
        if let Some(table) = mesh.table_of(&live) {
            let json = table.to_string();
            if holds(&PluginConfig::from_json(json.as_bytes())?) {
                return Ok(json.len());
            }
        }
        ensure!(Instant::now() < deadline, "the expected table did not appear within 60 s");
        // A read costs the API server as much as the change itself.
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

async fn explain(cluster: &Cluster) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let output = tokio::process::Command::new(program())
        .args(["explain", "--to", "cart.shop:80"])
        .args(["-H", "baggage: sandbox=pr-77"])
        .env("KUBECONFIG", cluster.kubeconfig(cluster.admin_token())?)
        .output()
        .await?;
    let took = begun.elapsed();
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        text.contains("cart-pr-77.shop:80"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(took)
}

fn compile() -> anyhow::Result<Duration> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("sandboxes.yaml");
    let map = |n| {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: pr-{n}\n  namespace: shop\n  \
             labels: {{skycap.dev/kind: sandbox}}\ndata:\n  routes: |\n    cart: cart-pr-{n}\n    \
             pricing: pricing-pr-{n}\n"
        )
    };
    std::fs::write(&file, (0..SANDBOXES).map(map).collect::<String>())?;
    let begun = Instant::now();
    let mut command = std::process::Command::new(program());
    let output = command.args(["compile", "-o", "plugin-config", "-f"]).arg(&file).output()?;
    let took = begun.elapsed();
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(took)
}

async fn fill(cluster: &Cluster) -> anyhow::Result<()> {
    let _progress = Progress::new(&format!("creating {SANDBOXES} sandboxes with their Services"));
    let targets = (0..SANDBOXES).flat_map(|n| [format!("cart-pr-{n}"), format!("pricing-pr-{n}")]);
    let services: Vec<_> =
        ["cart".to_owned(), "pricing".into()].into_iter().chain(targets).collect();
    create_services(cluster, "shop", &services).await?;
    create::<ConfigMap>(
        cluster,
        "shop",
        (0..SANDBOXES).map(|n| {
            json!({
                "metadata": {"name": format!("pr-{n}"), "labels": {"skycap.dev/kind": "sandbox"}},
                "data": {"routes": format!("cart: cart-pr-{n}\npricing: pricing-pr-{n}\n")},
            })
        }),
    )
    .await
}

/// Creates Services with one ready endpoint each.
async fn create_services(
    cluster: &Cluster,
    namespace: &str,
    services: &[String],
) -> anyhow::Result<()> {
    create::<Service>(
        cluster,
        namespace,
        services.iter().map(|name| {
            json!({
                "metadata": {"name": name},
                // Without an address: the API server takes minutes to allocate twenty thousand.
                "spec": {"clusterIP": "None", "ports": [{"name": "http", "port": 80}]},
            })
        }),
    )
    .await?;
    create::<EndpointSlice>(
        cluster,
        namespace,
        services.iter().map(|name| {
            json!({
                "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": ["10.77.0.1"], "conditions": {"ready": true}}],
                "ports": [{"name": "http", "port": 8080}],
            })
        }),
    )
    .await
}

async fn create<K>(
    cluster: &Cluster,
    namespace: &str,
    objects: impl Iterator<Item = Value>,
) -> anyhow::Result<()>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + serde::Serialize,
{
    let api = Api::<K>::namespaced(cluster.client.clone(), namespace);
    stream::iter(objects)
        .map(async |object| {
            let object: K = serde_json::from_value(object)?;
            api.create(&PostParams::default(), &object).await.context("cannot fill the cluster")?;
            anyhow::Ok(())
        })
        .buffer_unordered(32)
        .try_collect()
        .await
}

const SANDBOXES: usize = 10_000;

const CHANGES: usize = 20;
