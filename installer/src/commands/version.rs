//! `skycap version`.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client};
use serde::Serialize;

use super::{Format, Globals, mesh::MeshArgs};
use crate::{
    module::trial,
    names::{CONTROLLER, NAMESPACE},
    observed::api,
    table::{
        meshes::MeshKind,
        rollout::{Canary, selector_text},
    },
};

/// Print the versions of the client, the controller and the module
///
/// The controller is its Deployment's image; the module is the URL in Istio's plugin, and the one
/// that a canary runs. If the cluster is unreachable, the client's version is printed and the exit
/// code is 1.
#[derive(Debug, Args)]
#[command(after_help = "Example: skycap version --client")]
pub struct VersionArgs {
    /// Print the client's version only, without a cluster
    #[arg(long)]
    client: bool,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
    #[command(flatten)]
    mesh: MeshArgs,
}

impl VersionArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { client, output, mesh } = self;
        let (cluster, failure) = match client {
            true => (None, None),
            false => match ClusterVersions::read(globals, mesh).await {
                Ok(cluster) => (Some(cluster), None),
                Err(error) => (None, Some(error)),
            },
        };
        let versions = Versions { client: env!("CARGO_PKG_VERSION"), cluster };
        output.print(&versions, || versions.table())?;
        failure.map_or(Ok(ExitCode::SUCCESS), Err)
    }
}

/// What `skycap version` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    client: &'static str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    cluster: Option<ClusterVersions>,
}

/// The versions in a cluster.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterVersions {
    /// The image of the controller's Deployment; `None` if there is no controller.
    controller: Option<String>,
    /// The URL of the module; `None` if there is no plugin, as on meshes other than Istio.
    module: Option<String>,
    /// Whether a plugin is expected.
    #[serde(skip)]
    is_istio: bool,
    /// The module that is on trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<CanaryVersion>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CanaryVersion {
    module: String,
    /// The labels of its workloads, such as `app=frontend`.
    workloads: String,
}

impl ClusterVersions {
    async fn read(globals: &Globals, mesh: MeshArgs) -> anyhow::Result<Self> {
        let client = globals.connect().await?;
        let read = Self::read_from(&client, mesh);
        tokio::time::timeout(TIMEOUT, read).await.with_context(|| {
            let seconds = TIMEOUT.as_secs();
            format!("the cluster is unreachable: no answer within {seconds} s")
        })?
    }

    async fn read_from(client: &Client, mesh: MeshArgs) -> anyhow::Result<Self> {
        let deployments = Api::<Deployment>::namespaced(client.clone(), NAMESPACE);
        let deployment = deployments.get_opt(CONTROLLER).await;
        let deployment = deployment
            .with_context(|| format!("cannot read Deployment {NAMESPACE}/{CONTROLLER}"))?;
        let (meshes, mesh) = mesh.find(client).await?;
        let is_istio = meshes.has(MeshKind::Istio);
        let module = match is_istio {
            true => mesh.module_of(&api::read(client, &mesh.references()).await?).map(Into::into),
            false => None,
        };
        let rollout = trial::read(client).await?;
        let canary = rollout.canary_at(Timestamp::now()).map(CanaryVersion::from);
        Ok(Self { controller: deployment.and_then(image), module, is_istio, canary })
    }
}

/// The image of the Deployment's only container.
fn image(deployment: Deployment) -> Option<String> {
    deployment.spec.template.spec?.containers.into_iter().next()?.image
}

impl From<&Canary> for CanaryVersion {
    fn from(canary: &Canary) -> Self {
        Self { module: canary.module.clone(), workloads: selector_text(&canary.selector) }
    }
}

impl Versions {
    fn table(&self) -> String {
        let mut rows = vec![("client", self.client.to_owned())];
        if let Some(ClusterVersions { controller, module, is_istio, canary }) = &self.cluster {
            let text = |version: &Option<String>| {
                version.clone().unwrap_or_else(|| "not installed".into())
            };
            rows.push(("controller", text(controller)));
            rows.extend(is_istio.then(|| ("module", text(module))));
            rows.extend(canary.as_ref().map(|CanaryVersion { module, workloads }| {
                ("canary", format!("{module} (on {workloads})"))
            }));
        }
        let rows: Vec<_> =
            rows.into_iter().map(|(name, value)| format!("{name:<12} {value}")).collect();
        rows.join("\n")
    }
}

/// How long the cluster may take: a version is asked for when something does not work.
const TIMEOUT: Duration = Duration::from_secs(10);
