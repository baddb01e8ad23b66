//! A cluster without nodes: a real etcd and a real kube-apiserver, with the CRDs of Istio and of the
//! Gateway API. There is no kubelet: a test writes itself what a kubelet would write (endpoints, the
//! status of a Deployment).

mod access;
mod agent;
mod audit;
mod controller;
mod istiod;
mod obtain;
mod processes;
mod prometheus;
mod registry;
mod signing;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use skycap::{
    desired::{
        installation::Installation,
        istio::{IstioMesh, PluginKind},
    },
    objects::Object,
    observed::api,
    table::meshes::Meshes,
};

use self::processes::{Running, free_port, write_keys};

pub use self::{
    agent::{Agent, Pod},
    audit::Denial,
    controller::{Controller, build_program, program},
    istiod::local_address,
    obtain::{Parts, agent, faketime, istiod, kube_score, obtain, prometheus, registry},
    prometheus::Prometheus,
    registry::{Registry, USER},
    signing::SigningKey,
};

/// A running cluster. Dropping it ends its processes and deletes its folder.
pub struct Cluster {
    /// A client with the permissions of cluster-admin.
    pub client: Client,
    /// Which of Istio's kinds skycap writes.
    pub plugin: PluginKind,
    /// Where the sidecars get the module.
    pub module_url: String,
    /// The meshes that skycap is installed for.
    pub meshes: Meshes,
    /// Further fields of Istio's mesh configuration, beside the ones that every test needs.
    pub mesh_config: serde_json::Map<String, Value>,
    parts: Parts,
    etcd_port: u16,
    port: u16,
    /// The port of istiod's xDS. It stays the same after a restart, because sidecars know it.
    istiod_port: u16,
    istiod: Option<Running>,
    controller_manager: Option<Running>,
    apiserver: Option<Running>,
    etcd: Option<Running>,
    /// The last field, so that it is dropped last: the processes write to it until they end.
    folder: tempfile::TempDir,
}

impl Cluster {
    /// Starts etcd and kube-apiserver and installs the CRDs.
    ///
    /// # Errors
    /// If a program cannot be obtained or does not start, with the end of its log.
    pub async fn start(plugin: PluginKind) -> anyhow::Result<Self> {
        // The loopback of a new network namespace is down. Elsewhere it is up, or we may not set it.
        let up = ["link", "set", "lo", "up"];
        drop(std::process::Command::new("ip").args(up).stderr(Stdio::null()).status());
        let parts = obtain()?;
        let folder = tempfile::Builder::new().prefix("skycap-cluster-").tempdir()?;
        write_keys(folder.path())?;
        fs::write(folder.path().join("tokens.csv"), access::token_file())?;
        fs::write(folder.path().join("audit-policy.json"), audit::policy().to_string())?;
        let (etcd_port, port) = (free_port()?, free_port()?);
        let mut cluster = Self {
            // A placeholder: a real client needs the certificate that the API server writes at start.
            client: Client::try_from(Config::new("http://127.0.0.1:1".parse()?))?,
            plugin,
            module_url: mesh(plugin).module_url,
            meshes: Meshes::default(),
            mesh_config: serde_json::Map::new(),
            parts,
            etcd_port,
            port,
            istiod_port: free_port()?,
            istiod: None,
            controller_manager: None,
            apiserver: None,
            etcd: None,
            folder,
        };
        cluster.start_etcd()?;
        cluster.start_apiserver().await?;
        cluster.client = cluster.client_of(cluster.admin_token()).await?;
        cluster.populate().await?;
        Ok(cluster)
    }

    /// Applies a manifest as cluster-admin.
    ///
    /// # Errors
    /// If the API server rejects it.
    pub async fn apply(&self, manifest: &Value) -> Result<(), kube::Error> {
        let object =
            Object::new(manifest.clone()).map_err(|error| kube::Error::Service(error.into()))?;
        let reference = object.reference();
        let params = PatchParams::apply("test").force();
        api::api(&self.client, &reference)
            .patch(&reference.name, &params, &Patch::Apply(manifest))
            .await?;
        Ok(())
    }

    /// Applies the objects of `skycap install`, with a module URL that no sidecar fetches.
    ///
    /// # Errors
    /// If the API server rejects one of them.
    pub async fn install(&self) -> anyhow::Result<()> {
        let installation = Installation {
            meshes: self.meshes.clone(),
            mesh: mesh(self.plugin),
            image: "skycap".into(),
            access_log: false,
            spans: false,
        };
        for (_, _, objects) in installation.files() {
            for object in objects {
                self.apply(&object).await?;
            }
        }
        Ok(())
    }

    /// Replaces the newest version of the Gateway API's routes by the oldest that skycap supports.
    ///
    /// # Errors
    /// If the API server rejects it.
    pub async fn install_oldest_routes(&self) -> anyhow::Result<()> {
        for path in &self.parts.oldest_routes {
            self.install_crds(path).await?;
        }
        Ok(())
    }

    /// The folder of the logs and of all other files of this cluster.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The last 30 lines of the log `name`, such as `etcd.log`.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        let log = fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// What a cluster with Istio has before skycap comes: CRDs, two namespaces, istiod's Deployment.
    async fn populate(&self) -> anyhow::Result<()> {
        for path in &self.parts.crds {
            self.install_crds(path).await?;
        }
        for namespace in ["shop", "istio-system"] {
            let namespace =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            self.apply(&namespace).await?;
        }
        Ok(self.apply(&istiod_deployment()).await?)
    }

    async fn install_crds(&self, path: &PathBuf) -> anyhow::Result<()> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {path:?}"))?;
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text)?;
        let crds = Api::<CustomResourceDefinition>::all(self.client.clone());
        let mut names = Vec::new();
        for document in
            documents.iter().filter(|document| document["kind"] == "CustomResourceDefinition")
        {
            self.apply(document).await?;
            names.extend(document["metadata"]["name"].as_str().map(str::to_owned));
        }
        ensure!(!names.is_empty(), "no CRD in {path:?}");
        for name in names {
            let established = kube::runtime::conditions::is_crd_established();
            tokio::time::timeout(
                PATIENCE,
                kube::runtime::wait::await_condition(crds.clone(), &name, established),
            )
            .await??;
        }
        Ok(())
    }
}

/// The Deployment of Istio's Helm chart, by which skycap finds istiod and its version. It has no
/// effect here: the tests run istiod as a process.
fn istiod_deployment() -> Value {
    let labels = json!({"app": "istiod", "app.kubernetes.io/version": "1.31.0"});
    let container = json!({"name": "discovery", "image": "docker.io/istio/pilot:1.31.0"});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "istiod", "namespace": "istio-system", "labels": labels},
        "spec": {
            "selector": {"matchLabels": {"app": "istiod"}},
            "template": {
                "metadata": {"labels": {"app": "istiod"}},
                "spec": {"containers": [container]},
            },
        },
    })
}

/// The mesh of a test that runs no sidecar: the module URL is never fetched.
#[must_use]
pub fn mesh(plugin: PluginKind) -> IstioMesh {
    IstioMesh {
        root_namespace: "istio-system".into(),
        plugin,
        module_url: "file:///skycap.wasm".into(),
        pull_secret: None,
    }
}

/// How long a program may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
