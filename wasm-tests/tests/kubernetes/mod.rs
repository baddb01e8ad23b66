//! What the tests on a real API server share: a cluster with skycap installed, and what to ask it.

#![allow(dead_code, reason = "each of the test programs takes what it needs")]

pub(crate) mod mesh;
pub(crate) mod shop;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment, coordination::v1::Lease, core::v1::ConfigMap, events::v1::Event,
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};
use skycap::{
    desired::{
        installation::Installation,
        istio::{IstioMesh, PluginKind},
        published::Summary,
    },
    names::{CONTROLLER, NAMESPACE, STATUS},
    objects::Object,
    observed::{api, snapshot},
    table::{compile::compile, meshes::Meshes},
};
use skycap_core::config::PluginConfig;
use skycap_tests::cluster::{Cluster, mesh};

/// A cluster with skycap installed and no controller running.
pub(crate) struct Fixture {
    pub(crate) cluster: Cluster,
    pub(crate) mesh: IstioMesh,
    /// How long what is awaited may take.
    pub(crate) patience: Duration,
}

/// Runs a test in a cluster of its own; when it fails, objects and logs are told.
pub(crate) fn run(
    plugin: PluginKind,
    test: impl AsyncFnOnce(&mut Fixture) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    run_on(&Meshes::default(), plugin, test)
}

/// The same, with skycap installed for these meshes.
pub(crate) fn run_on(
    meshes: &Meshes,
    plugin: PluginKind,
    test: impl AsyncFnOnce(&mut Fixture) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    run_in(meshes, plugin, true, test)
}

/// The same in a cluster that has never heard of skycap.
pub(crate) fn run_bare(
    plugin: PluginKind,
    test: impl AsyncFnOnce(&mut Fixture) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    run_in(&Meshes::default(), plugin, false, test)
}

fn run_in(
    meshes: &Meshes,
    plugin: PluginKind,
    is_installed: bool,
    test: impl AsyncFnOnce(&mut Fixture) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut cluster = Cluster::start(plugin).await?;
        cluster.meshes = meshes.clone();
        if is_installed {
            cluster.install().await?;
        }
        let mut fixture = Fixture { cluster, mesh: mesh(plugin), patience: PATIENCE };
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
        let live = api::read(&self.cluster.client, &self.mesh.references()).await?;
        let config = self.mesh.table_of(&live).context("no plugin yet")?;
        Ok(PluginConfig::from_json(config.to_string().as_bytes())?)
    }

    pub(crate) async fn summary(&self) -> anyhow::Result<Summary> {
        let maps = Api::<ConfigMap>::namespaced(self.cluster.client.clone(), NAMESPACE);
        let status = maps.get(STATUS).await?;
        Ok(serde_json::from_str(&status.data.unwrap_or_default()["summary.json"])?)
    }

    /// The text of the report.
    pub(crate) async fn report(&self) -> anyhow::Result<String> {
        let maps = Api::<ConfigMap>::namespaced(self.cluster.client.clone(), NAMESPACE);
        let status = maps.get(STATUS).await?;
        Ok(status.data.unwrap_or_default()["report.json"].clone())
    }

    /// How often the plugin's spec has changed since it was made.
    pub(crate) async fn changes(&self) -> anyhow::Result<i64> {
        let plugin = self.plugin().await?;
        Ok(plugin.and_then(|plugin| plugin.metadata.generation).unwrap_or(0))
    }

    /// The notes of the Events on a ConfigMap of namespace `shop`.
    pub(crate) async fn notes(&self, name: &str) -> anyhow::Result<Vec<String>> {
        let events = Api::<Event>::namespaced(self.cluster.client.clone(), "shop");
        let events = events.list(&ListParams::default()).await?;
        let of = |event: Event| Some((event.regarding?.name? == name).then_some(event.note?));
        Ok(events.into_iter().filter_map(of).flatten().collect())
    }

    /// What the command prints, as cluster-admin; that it succeeds, or has something to report.
    pub(crate) async fn skycap(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.run_skycap(args).await?;
        let wanted = [Some(0), args.contains(&"status").then_some(1)];
        anyhow::ensure!(wanted.contains(&output.status.code()), "{args:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The token of somebody who has this ClusterRole, `viewer`, and no other right.
    pub(crate) async fn viewer(&self, role: &Value) -> anyhow::Result<String> {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "viewer", "namespace": "shop"}});
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "viewer"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "viewer"},
            "subjects": [{"kind": "ServiceAccount", "namespace": "shop", "name": "viewer"}],
        });
        for object in [&account, role, &binding] {
            self.apply(object).await?;
        }
        self.cluster.token_of("shop", "viewer").await
    }

    /// There is no kubelet: what it would say of the controller's Deployment.
    pub(crate) async fn become_available(&self) -> anyhow::Result<()> {
        let deployments = Api::<Deployment>::namespaced(self.cluster.client.clone(), NAMESPACE);
        let generation = deployments.get(CONTROLLER).await?.metadata.generation;
        let status = json!({"status": {
            "observedGeneration": generation,
            "replicas": 2,
            "updatedReplicas": 2,
            "availableReplicas": 2,
            "readyReplicas": 2,
        }});
        let (params, patch) = (PatchParams::default(), Patch::Merge(status));
        deployments.patch_status(CONTROLLER, &params, &patch).await?;
        Ok(())
    }

    /// That nothing of skycap's is in the cluster but what the user has written.
    pub(crate) async fn nothing_is_left(&self) -> anyhow::Result<()> {
        let installation = Installation {
            meshes: self.cluster.meshes.clone(),
            mesh: self.mesh.clone(),
            image: String::new(),
            access_log: true,
            spans: true,
        };
        let references = installation.objects()?.iter().map(Object::reference).collect::<Vec<_>>();
        let references = [references, self.mesh.references()].concat();
        let live = api::read(&self.cluster.client, &references).await?;
        // Without a namespace controller what was in the namespace stays, and the namespace is "Terminating".
        let left: Vec<_> = live
            .iter()
            .filter(|(_, object)| object.metadata.deletion_timestamp.is_none())
            .map(|(reference, _)| reference.to_string())
            .filter(|name| !name.contains("ConfigMap skycap-system"))
            .collect();
        anyhow::ensure!(left.is_empty(), "left: {left:?}");
        Ok(())
    }

    /// What the command says when it ends with `code`.
    pub(crate) async fn skycap_fails(&self, args: &[&str], code: i32) -> anyhow::Result<String> {
        let output = self.run_skycap(args).await?;
        anyhow::ensure!(output.status.code() == Some(code), "{args:?}: {output:?}");
        Ok(String::from_utf8([output.stdout, output.stderr].concat())?)
    }

    pub(crate) async fn run_skycap(&self, args: &[&str]) -> anyhow::Result<std::process::Output> {
        Ok(self.command(args)?.output().await?)
    }

    /// The command as cluster-admin; it ends when it is dropped.
    pub(crate) fn command(&self, args: &[&str]) -> anyhow::Result<tokio::process::Command> {
        let kubeconfig = self.cluster.kubeconfig(self.cluster.admin_token())?;
        let mut command = tokio::process::Command::new(skycap_tests::cluster::program());
        command.args(args).env("KUBECONFIG", kubeconfig).kill_on_drop(true);
        Ok(command)
    }

    /// Deletes a ConfigMap of namespace `shop`.
    pub(crate) async fn delete(&self, name: &str) -> anyhow::Result<()> {
        self.delete_object(&sandbox(name, Value::Null)).await
    }

    pub(crate) async fn delete_object(&self, object: &Value) -> anyhow::Result<()> {
        let reference = Object::new(object.clone())?.reference();
        let api = api::api(&self.cluster.client, &reference);
        api.delete(&reference.name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Deletes all that a controller has made, and what it was made of.
    pub(crate) async fn delete_everything(&self) -> anyhow::Result<()> {
        let client = &self.cluster.client;
        let (params, all) = (DeleteParams::default(), ListParams::default());
        for namespace in ["shop", NAMESPACE] {
            let leases = Api::<Lease>::namespaced(client.clone(), namespace);
            let _ = leases.delete_collection(&params, &all).await?;
            let events = Api::<Event>::namespaced(client.clone(), namespace);
            let _ = events.delete_collection(&params, &all).await?;
        }
        let maps = Api::<ConfigMap>::namespaced(client.clone(), "shop");
        let _ = maps.delete_collection(&params, &all).await?;
        let status = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": STATUS, "namespace": NAMESPACE}});
        let _ = self.delete_object(&status).await;
        for reference in self.mesh.references() {
            let _ = api::api(client, &reference).delete(&reference.name, &params).await;
        }
        Ok(())
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
            let input = snapshot::read(&fixture.cluster.client, now).await?;
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
        let patience = self.patience;
        let deadline = Instant::now() + patience;
        loop {
            let result = holds(self).await;
            if matches!(result, Ok(true)) {
                return Ok(());
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "{what}: not after {patience:?}: {result:?}"
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

/// Linkerd's kind as far as the API server is concerned; its schema is in a Helm chart.
pub(crate) async fn install_profiles(fixture: &Fixture) -> anyhow::Result<()> {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "serviceprofiles.linkerd.io"},
        "spec": {
            "group": "linkerd.io",
            "names": {"kind": "ServiceProfile", "plural": "serviceprofiles"},
            "scope": "Namespaced",
            "versions": [{"name": "v1alpha2", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    });
    fixture.apply(&crd).await?;
    let client = &fixture.cluster.client;
    fixture
        .until("served", async |_| {
            api::serves(client, "linkerd.io/v1alpha2", "ServiceProfile").await
        })
        .await
}

const PATIENCE: Duration = Duration::from_secs(20);
