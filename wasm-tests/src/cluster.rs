//! A cluster: a real etcd and a real kube-apiserver, with the CRDs of Istio and of the Gateway API.
//!
//! [`Cluster::start`] starts one without nodes, within seconds: a test writes itself what a kubelet would
//! write (endpoints, the status of a Deployment). [`Cluster::start_with_node`] starts one that runs Pods.

mod access;
mod agent;
mod audit;
mod controller;
mod istiod;
mod node;
mod obtain;
mod populate;
pub(crate) mod processes;
mod prometheus;
mod registry;
mod signing;

use std::{fs, path::Path, time::Duration};

use kube::{
    Client, Config,
    api::{Patch, PatchParams},
};
use serde_json::Value;
use skycap::{
    desired::{
        installation::Installation,
        istio::{IstioMesh, PluginKind},
    },
    objects::Object,
    observed::api,
    table::meshes::Meshes,
};

use self::{
    node::Node,
    processes::{Running, free_port, set_loopback_up, write_keys},
};

pub use self::{
    agent::{Agent, Pod},
    audit::Denial,
    controller::{Controller, build_program, build_splitter, program},
    istiod::local_address,
    node::{Image, machine},
    obtain::{
        Browser, Databases, IPTABLES, ISTIO_VERSION, Kubernetes, NodePrograms, Parts, XTABLES, act,
        agent, browser, databases, faketime, helm_3, istio_bootstrap, istio_sources, istiod,
        kube_score, node_programs, obtain, prometheus, registry,
    },
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
    /// The node, if the cluster has one.
    node: Option<Node>,
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
        Self::start_on(plugin, None).await
    }

    /// Starts etcd and kube-apiserver: for this node, or for none.
    async fn start_on(plugin: PluginKind, node: Option<Node>) -> anyhow::Result<Self> {
        set_loopback_up();
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
            node,
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
            readers: None,
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

    /// The path of Helm 4.
    #[must_use]
    pub fn helm(&self) -> &Path {
        &self.parts.kubernetes.helm
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
