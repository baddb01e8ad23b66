//! The checks that `install` makes before it writes: whether the mesh is installed in a supported
//! version, and whether the user has all permissions.

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

/// Checks the meshes, and returns what it found, one line each.
///
/// # Errors
/// What is missing or not supported, and what to install.
pub async fn preflight(
    client: &Client,
    meshes: &Meshes,
    mesh: &IstioMesh,
) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    if meshes.has(MeshKind::Istio) {
        found.extend(istio::check(client, mesh).await?);
    }
    if meshes.take_http_routes() {
        found.push(check_gateway_api(client).await?);
    }
    if meshes.has(MeshKind::Linkerd) {
        found.push(check_linkerd(client).await?);
    }
    Ok(found)
}

/// The CRDs of the Gateway API: their version, and the tool that installed them.
async fn check_gateway_api(client: &Client) -> anyhow::Result<String> {
    let (api_version, kind) = PolicyKind::HttpRoute.names();
    ensure!(
        api::serves(client, api_version, kind).await?,
        "the cluster does not serve {kind} ({api_version}): install the CRDs of the Gateway API \
         (Linkerd supports 1.1 to 1.5), then run this command again"
    );
    let crds = Api::<CustomResourceDefinition>::all(client.clone());
    let crd = crds.get(HTTP_ROUTES).await;
    let crd = crd.with_context(|| format!("cannot read CustomResourceDefinition {HTTP_ROUTES}"))?;
    let annotation = |name: &str| crd.annotations().get(name).cloned();
    let version = annotation("gateway.networking.k8s.io/bundle-version");
    let channel = annotation("gateway.networking.k8s.io/channel");
    let installer = annotation("meta.helm.sh/release-name")
        .map(|release| format!("the Helm release {release}"))
        .or_else(|| crd.managed_fields().first()?.manager.clone());
    let text = |value: Option<String>| value.unwrap_or_else(|| "unknown".into());
    Ok(format!(
        "Gateway API {}, channel {}, installed by {}",
        text(version),
        text(channel),
        text(installer)
    ))
}

/// Linkerd's policy controller, which runs in the Pods of its destination controller.
async fn check_linkerd(client: &Client) -> anyhow::Result<String> {
    let (api_version, kind) = PolicyKind::ServiceProfile.names();
    let advice = "install Linkerd first, see `linkerd check`";
    ensure!(
        api::serves(client, api_version, kind).await?,
        "the cluster does not serve {kind} ({api_version}): {advice}"
    );
    let label = "linkerd.io/control-plane-component=destination";
    let deployments = Api::<Deployment>::all(client.clone());
    let deployments = deployments.list(&ListParams::default().labels(label)).await;
    let deployments = deployments.context("cannot list Deployments to find Linkerd")?;
    let deployment = deployments
        .iter()
        .next()
        .with_context(|| format!("no Deployment has the label {label}: {advice}"))?;
    let version = deployment.labels().get("app.kubernetes.io/version").map(String::as_str);
    Ok(format!(
        "Linkerd {} in {}",
        version.unwrap_or("(unknown version)"),
        deployment.namespace().unwrap_or_default()
    ))
}

const HTTP_ROUTES: &str = "httproutes.gateway.networking.k8s.io";
