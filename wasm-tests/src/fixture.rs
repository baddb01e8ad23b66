//! What the tests on a real API server share: a cluster with skycap, what to ask it, how to wait.
//!
//! | module | content |
//! |---|---|
//! | this one | [`Fixture`], and the functions that run a test in a cluster of its own |
//! | `state` | what is in the cluster now |
//! | `wait` | waiting until the cluster, or the answer to a request, is as expected |
//! | `command` | the command `skycap`, as its users run it |
//! | [`interruption`] | the command, cut off from the API server after one of its writes |
//! | [`manifests`] | objects that tests apply |
//! | [`echo_shop`] | three servers behind istiod and one stock Envoy |
//! | [`istio_shop`] | the shop of `cargo demo` behind Istio's own programs |
//! | [`pods`] | the shop in Pods, with Istio from its charts |
//! | [`otlp`], [`grpc`], [`websocket`] | servers of these protocols |

mod command;
pub mod echo_shop;
pub mod grpc;
pub mod interruption;
pub mod istio_shop;
pub mod manifests;
pub mod otlp;
pub mod pods;
mod state;
mod wait;
pub mod websocket;

use std::{path::PathBuf, sync::Mutex, time::Duration};

use anyhow::Context as _;
use kube::api::DeleteParams;
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

use self::manifests::sandbox;
use crate::{
    cluster::{Cluster, machine, mesh},
    module,
};

/// A cluster for one test.
pub struct Fixture {
    /// The cluster.
    pub cluster: Cluster,
    /// Where the tests expect Istio's objects.
    pub mesh: IstioMesh,
    /// How long the `wait` functions wait.
    pub patience: Duration,
}

/// The built module. Each test program builds it once.
///
/// # Errors
/// If it does not compile.
pub fn module_path() -> anyhow::Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = BUILT.lock().map_err(|_| anyhow::anyhow!("another build has panicked"))?;
    if built.is_none() {
        *built = Some(module::build()?);
    }
    built.clone().context("the build has no result")
}

/// Runs a test in a cluster of its own, with skycap installed on Istio and no controller running. If
/// the test fails, this prints objects and logs.
///
/// # Errors
/// If the cluster does not start, or the test fails.
pub fn run(
    plugin: PluginKind,
    test: impl AsyncFnOnce(&mut Fixture) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    run_on(&Meshes::default(), plugin, test)
}

/// Like [`run`], with skycap installed for these meshes.
///
/// # Errors
/// Like [`run`].
pub fn run_on(
    meshes: &Meshes,
    plugin: PluginKind,
    test: impl AsyncFnOnce(&mut Fixture) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    block_on(async {
        let mut fixture = Fixture::start(meshes, plugin).await?;
        fixture.cluster.install().await?;
        fixture.check(test).await
    })
}

/// Like [`run`], in a cluster without skycap.
///
/// # Errors
/// Like [`run`].
pub fn run_without_skycap(
    plugin: PluginKind,
    test: impl AsyncFnOnce(&mut Fixture) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    block_on(async {
        let mut fixture = Fixture::start(&Meshes::default(), plugin).await?;
        fixture.check(test).await
    })
}

fn block_on(test: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(test)
}

impl Fixture {
    /// Starts a cluster without skycap.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start(meshes: &Meshes, plugin: PluginKind) -> anyhow::Result<Self> {
        let mut cluster = Cluster::start(plugin).await?;
        cluster.meshes = meshes.clone();
        Ok(Self { cluster, mesh: mesh(plugin), patience: PATIENCE })
    }

    /// Applies a manifest as cluster-admin.
    ///
    /// # Errors
    /// If the API server rejects it.
    pub async fn apply(&self, manifest: &Value) -> anyhow::Result<()> {
        Ok(self.cluster.apply(manifest).await?)
    }

    /// Deletes a sandbox of namespace `shop`.
    ///
    /// # Errors
    /// If the API server rejects it, also because there is none.
    pub async fn delete(&self, name: &str) -> anyhow::Result<()> {
        self.delete_object(&sandbox(name, Value::Null)).await
    }

    /// Deletes the object with the kind and the name of this manifest.
    ///
    /// # Errors
    /// If the API server rejects it, also because there is none.
    pub async fn delete_object(&self, manifest: &Value) -> anyhow::Result<()> {
        let reference = Object::new(manifest.clone())?.reference();
        let api = api::api(&self.cluster.client, &reference);
        api.delete(&reference.name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// What `skycap install` applies here.
    #[must_use]
    pub fn installation(&self) -> Installation {
        Installation {
            meshes: self.cluster.meshes.clone(),
            mesh: self.mesh.clone(),
            image: "skycap".into(),
            readers: None,
            access_log: false,
            spans: false,
        }
    }

    async fn check(
        &mut self,
        test: impl AsyncFnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let result = test(self).await;
        if let Err(error) = &result {
            println!("failed: {error:#}");
            self.dump().await;
        }
        result
    }

    /// Prints what explains a failure.
    async fn dump(&self) {
        let plugin = self.plugin().await.ok().flatten();
        println!("plugin: {}", plugin.map_or(Value::Null, |plugin| plugin.data));
        println!("summary: {:?}", self.summary().await);
        let logs = std::fs::read_dir(self.cluster.folder()).into_iter().flatten().flatten();
        for log in logs.filter(|entry| entry.path().extension().is_some_and(|name| name == "log")) {
            let name = log.file_name().to_string_lossy().into_owned();
            println!("--- {name}\n{}", self.cluster.log(&name));
        }
        if machine::is_inside() {
            self.dump_pods().await;
        }
    }
}

/// Most changes take effect within a second; a busy machine with two cores may need ten.
const PATIENCE: Duration = Duration::from_secs(20);
