//! What `install` looks at before it writes anything: whether the mesh is there, and in which
//! version, and whether one may write all that is to be written.

mod istio;
pub mod rights;

use anyhow::{Context as _, ensure};
use k8s_openapi::{
    api::apps::v1::Deployment,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, Client, ResourceExt as _, api::ListParams};

use super::api;
use crate::{
    desired::istio::IstioMesh,
    table::{
        meshes::{MeshKind, Meshes},
        policies::PolicyKind,
    },
};

/// Gives what it found, a line each.
///
/// # Errors
/// What is missing, with what to install first.
pub async fn preflight(
    client: &Client,
    meshes: &Meshes,
    mesh: &IstioMesh,
) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    if meshes.has(MeshKind::Istio) {
        found.extend(istio::look(client, mesh).await?);
    }
    if meshes.take_http_routes() {
        found.push(gateway_api(client).await?);
    }
    if meshes.has(MeshKind::Linkerd) {
        found.push(linkerd(client).await?);
    }
    Ok(found)
}

/// The Gateway API's CRDs: their version, and who installed them.
async fn gateway_api(client: &Client) -> anyhow::Result<String> {
    let (api_version, kind) = PolicyKind::HttpRoute.names();
    ensure!(
        api::serves(client, api_version, kind).await?,
        "the cluster serves no {kind} of {api_version}: install the Gateway API's CRDs (Linkerd takes \
         1.1 to 1.5), then run this again"
    );
    let crds = Api::<CustomResourceDefinition>::all(client.clone());
    let crd = crds.get(HTTP_ROUTES).await.with_context(|| format!("cannot read {HTTP_ROUTES}"))?;
    let annotation = |name: &str| crd.annotations().get(name).cloned();
    let version = annotation("gateway.networking.k8s.io/bundle-version");
    let channel = annotation("gateway.networking.k8s.io/channel");
    let owner = annotation("meta.helm.sh/release-name")
        .map(|release| format!("the Helm release {release}"))
        .or_else(|| crd.managed_fields().first()?.manager.clone());
    let text = |value: Option<String>| value.unwrap_or_else(|| "unknown".into());
    Ok(format!(
        "Gateway API {}, {} channel, installed by {}",
        text(version),
        text(channel),
        text(owner)
    ))
}

/// Linkerd's policy controller, which is in the Pods of its destination controller.
async fn linkerd(client: &Client) -> anyhow::Result<String> {
    let (api_version, kind) = PolicyKind::ServiceProfile.names();
    let missing = "install Linkerd first, see `linkerd check`";
    ensure!(
        api::serves(client, api_version, kind).await?,
        "the cluster serves no {kind} of {api_version}: {missing}"
    );
    let label = "linkerd.io/control-plane-component=destination";
    let deployments = Api::<Deployment>::all(client.clone());
    let deployments = deployments.list(&ListParams::default().labels(label)).await;
    let deployments = deployments.context("cannot list Deployments")?;
    let deployment = deployments
        .iter()
        .next()
        .with_context(|| format!("there is no Deployment with {label}: {missing}"))?;
    let version = deployment.labels().get("app.kubernetes.io/version").map(String::as_str);
    Ok(format!(
        "Linkerd {} in {}",
        version.unwrap_or("of an unknown version"),
        deployment.namespace().unwrap_or_default()
    ))
}

const HTTP_ROUTES: &str = "httproutes.gateway.networking.k8s.io";
