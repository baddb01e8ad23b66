//! A cluster without nodes: a real etcd and a real kube-apiserver, with Istio's and the Gateway
//! API's CRDs. There is no kubelet: what it would write (endpoints, the status of a Deployment) a
//! test writes itself.

mod agent;
mod controller;
mod istiod;
mod obtain;
mod processes;
mod prometheus;
mod registry;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use k8s_openapi::{
    api::{
        authentication::v1::{TokenRequest, TokenRequestSpec},
        core::v1::ServiceAccount,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use skycap::{
    desired::{
        installation::Installation,
        istio::{IstioMesh, PluginKind},
    },
    names::{CONTROLLER, NAMESPACE},
    objects::Object,
    observed::api,
    table::meshes::Meshes,
};
use tokio::process::Child;

use self::processes::{free_port, write_keys};

pub use self::{
    agent::{Agent, Pod},
    controller::{Controller, build_program, program},
    istiod::local_address,
    obtain::{Parts, agent, faketime, istiod, obtain, prometheus, registry},
    prometheus::Prometheus,
    registry::{Registry, USER},
};

/// A running cluster; it ends when it is dropped.
pub struct Cluster {
    /// Speaks as cluster-admin.
    pub client: Client,
    /// Which of Istio's kinds skycap writes.
    pub plugin: PluginKind,
    /// Where the sidecars get the module.
    pub module_url: String,
    /// Which meshes skycap is installed for.
    pub meshes: Meshes,
    /// What Istio's mesh configuration has beside what the tests need.
    pub mesh_config: serde_json::Map<String, Value>,
    parts: Parts,
    folder: tempfile::TempDir,
    etcd_port: u16,
    port: u16,
    etcd: Option<Child>,
    apiserver: Option<Child>,
    controller_manager: Option<Child>,
    istiod: Option<Child>,
    /// Of istiod's xDS: the same after a restart, as sidecars know it.
    istiod_port: u16,
}

impl Cluster {
    /// Starts etcd and kube-apiserver and installs the CRDs.
    ///
    /// # Errors
    /// When a part cannot be had or does not start, with its log's end.
    pub async fn start(plugin: PluginKind) -> anyhow::Result<Self> {
        // A network namespace begins with its loopback down; elsewhere it is up, or not ours to touch.
        let up = ["link", "set", "lo", "up"];
        drop(std::process::Command::new("ip").args(up).stderr(Stdio::null()).status());
        let parts = obtain()?;
        let folder = tempfile::tempdir()?;
        write_keys(folder.path())?;
        fs::write(
            folder.path().join("tokens.csv"),
            format!("{ADMIN},admin,admin,system:masters\n"),
        )?;
        let (etcd_port, port) = (free_port()?, free_port()?);
        // The client needs the certificate that the API server writes when it starts.
        let mut cluster = Self {
            client: Client::try_from(Config::new("http://127.0.0.1:1".parse()?))?,
            plugin,
            module_url: mesh(plugin).module_url,
            meshes: Meshes::default(),
            mesh_config: serde_json::Map::new(),
            parts,
            folder,
            etcd_port,
            port,
            etcd: None,
            apiserver: None,
            controller_manager: None,
            istiod: None,
            istiod_port: free_port()?,
        };
        cluster.start_etcd()?;
        cluster.start_apiserver().await?;
        cluster.client = cluster.client_of(ADMIN).await?;
        for path in &cluster.parts.crds {
            cluster.install_crds(path).await?;
        }
        for namespace in ["shop", "istio-system"] {
            cluster.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})).await?;
        }
        cluster.apply(&istiod_deployment()).await?;
        Ok(cluster)
    }

    /// Applies a manifest as cluster-admin.
    ///
    /// # Errors
    /// As the API server says.
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

    /// Applies what `skycap install` would, with a module that nobody fetches.
    ///
    /// # Errors
    /// As the API server says.
    pub async fn install(&self) -> anyhow::Result<()> {
        let mesh = mesh(self.plugin);
        let installation = Installation {
            meshes: self.meshes.clone(),
            mesh,
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

    /// The path of a kubeconfig that speaks by this token.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn kubeconfig(&self, token: &str) -> anyhow::Result<PathBuf> {
        let name = format!("kubeconfig-{}", token.len());
        let path = self.folder.path().join(name);
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://127.0.0.1:{}", self.port),
                "certificate-authority": self.folder.path().join("certs/apiserver.crt"),
            }}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        });
        fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// Puts the oldest version of the Gateway API's routes in the place of the newest.
    ///
    /// # Errors
    /// As the API server says.
    pub async fn install_oldest_routes(&self) -> anyhow::Result<()> {
        for path in &self.parts.oldest_routes {
            self.install_crds(path).await?;
        }
        Ok(())
    }

    /// A token of the controller's ServiceAccount.
    ///
    /// # Errors
    /// As the API server says.
    pub async fn controller_token(&self) -> anyhow::Result<String> {
        self.token_of(NAMESPACE, CONTROLLER).await
    }

    /// A token of a ServiceAccount, by TokenRequest.
    ///
    /// # Errors
    /// As the API server says.
    pub async fn token_of(&self, namespace: &str, account: &str) -> anyhow::Result<String> {
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), namespace);
        let spec = TokenRequestSpec { expiration_seconds: Some(3_600), ..<_>::default() };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let answer =
            accounts.create_token_request(account, &PostParams::default(), &request).await?;
        let token = answer.status.and_then(|status| status.token);
        token.context("a token request without an answer")
    }

    /// The token of cluster-admin.
    #[must_use]
    pub const fn admin_token(&self) -> &'static str {
        ADMIN
    }

    /// A client that speaks by this token.
    ///
    /// # Errors
    /// When the API server has not written its certificate yet.
    pub async fn client_of(&self, token: &str) -> anyhow::Result<Client> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig(token)?)?;
        let config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// The folder of logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The end of one of the logs.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        let log = fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    async fn install_crds(&self, path: &Path) -> anyhow::Result<()> {
        let text = fs::read_to_string(path).with_context(|| format!("no CRDs at {path:?}"))?;
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

/// What Istio's Helm chart leaves of istiod, for who looks for it; it is not what runs it here.
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

/// The mesh of these tests: nobody fetches the module.
#[must_use]
pub fn mesh(plugin: PluginKind) -> IstioMesh {
    IstioMesh {
        root_namespace: "istio-system".into(),
        plugin,
        module_url: "file:///skycap.wasm".into(),
        pull_secret: None,
    }
}

const ADMIN: &str = "admin-token";
const PATIENCE: Duration = Duration::from_secs(60);
