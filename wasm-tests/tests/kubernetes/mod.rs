//! What the tests on a real API server share: a cluster with skycap installed, and what to ask it.

#![allow(dead_code, reason = "each of the test programs takes what it needs")]

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, core::DynamicObject};
use serde_json::{Value, json};
use skycap::{
    api,
    commands::sync,
    compile::compile,
    controller::announce::Summary,
    objects::{self, Mesh, PluginKind},
    settings::NAMESPACE,
};
use skycap_core::config::PluginConfig;
use skycap_tests::cluster::{Cluster, mesh};

/// A cluster with skycap installed and no controller running.
pub(crate) struct Fixture {
    pub(crate) cluster: Cluster,
    pub(crate) mesh: Mesh,
}

/// Runs a test in a cluster of its own; when it fails, objects and logs are told.
pub(crate) fn run(
    plugin: PluginKind,
    test: impl AsyncFnOnce(&mut Fixture) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let cluster = Cluster::start(plugin).await?;
        cluster.install().await?;
        let mut fixture = Fixture { cluster, mesh: mesh(plugin) };
        let result = test(&mut fixture).await;
        if result.is_err() {
            fixture.dump().await;
        }
        result
    })
}

impl Fixture {
    pub(crate) async fn apply(&self, manifest: &Value) -> anyhow::Result<()> {
        Ok(self.cluster.apply(manifest).await?)
    }

    /// The plugin as it is in the cluster.
    pub(crate) async fn plugin(&self) -> anyhow::Result<Option<DynamicObject>> {
        let references = self.mesh.references();
        let live = api::read(&self.cluster.client, &references).await?;
        Ok(live.get(&references[0]).cloned())
    }

    pub(crate) async fn dispatch_route(&self) -> anyhow::Result<Option<DynamicObject>> {
        let references = self.mesh.references();
        let live = api::read(&self.cluster.client, &references).await?;
        Ok(live.get(&references[1]).cloned())
    }

    /// The table that the sidecars would get.
    pub(crate) async fn table(&self) -> anyhow::Result<PluginConfig> {
        let Some(plugin) = self.plugin().await? else { anyhow::bail!("no plugin yet") };
        let spec = &plugin.data["spec"];
        let config = spec.get("pluginConfig").unwrap_or(&spec["wasm"]["pluginConfig"]);
        Ok(PluginConfig::from_json(config.to_string().as_bytes())?)
    }

    pub(crate) async fn summary(&self) -> anyhow::Result<Summary> {
        let maps = Api::<ConfigMap>::namespaced(self.cluster.client.clone(), NAMESPACE);
        let status = maps.get(objects::STATUS).await?;
        Ok(serde_json::from_str(&status.data.unwrap_or_default()["summary.json"])?)
    }

    /// Waits until the table has, or has not, this key.
    pub(crate) async fn has_key(&self, key: &str, wanted: bool, what: &str) -> anyhow::Result<()> {
        self.until(what, async |fixture| {
            Ok(fixture.table().await?.keys.iter().any(|(name, _)| name == key) == wanted)
        })
        .await
    }

    /// Waits until the key has so many routes in the table.
    pub(crate) async fn routes(&self, key: &str, count: usize, what: &str) -> anyhow::Result<()> {
        self.until(what, async |fixture| {
            let table = fixture.table().await?;
            Ok(table.keys.iter().any(|(name, routes)| name == key && routes.len() == count))
        })
        .await
    }

    /// Waits until the mesh holds the pure function of the cluster's state.
    pub(crate) async fn is_settled(&self, what: &str) -> anyhow::Result<()> {
        self.until(what, async |fixture| {
            let now = Timestamp::now();
            let input = sync::read(&fixture.cluster.client, now).await?;
            let wanted = fixture.mesh.objects(&compile(&input, now))?;
            let live = api::read(&fixture.cluster.client, &fixture.mesh.references()).await?;
            Ok(wanted.iter().all(|object| {
                live.get(&object.reference()).is_some_and(|live| object.is_in_place(live))
            }))
        })
        .await
    }

    /// Waits until `holds`; an error counts as not yet.
    pub(crate) async fn until(
        &self,
        what: &str,
        holds: impl AsyncFn(&Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let result = holds(self).await;
            if matches!(result, Ok(true)) {
                return Ok(());
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "{what}: not after {PATIENCE:?}: {result:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Tells what explains a failure.
    async fn dump(&self) {
        let plugin = self.plugin().await.ok().flatten();
        println!("plugin: {}", plugin.map_or(Value::Null, |plugin| plugin.data));
        println!("summary: {:?}", self.summary().await);
        let logs = std::fs::read_dir(self.cluster.folder()).into_iter().flatten().flatten();
        for log in logs.filter(|entry| entry.path().extension().is_some_and(|name| name == "log")) {
            let name = log.file_name().to_string_lossy().into_owned();
            println!("--- {name}\n{}", self.cluster.log(&name));
        }
    }
}

/// A sandbox of namespace `shop`.
pub(crate) fn sandbox(name: &str, data: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "shop", "labels": {"skycap.dev/kind": "sandbox"}},
        "data": data,
    })
}

pub(crate) fn settings(data: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "skycap", "namespace": NAMESPACE},
        "data": data,
    })
}

/// A Service of port 80 in namespace `shop`.
pub(crate) fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    })
}

/// Its only endpoint.
pub(crate) fn endpoints(service: &str, ready: bool) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{service}-1"),
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.77.0.1"], "conditions": {"ready": ready}}],
        "ports": [{"name": "http", "port": 8080}],
    })
}

const PATIENCE: Duration = Duration::from_secs(20);
