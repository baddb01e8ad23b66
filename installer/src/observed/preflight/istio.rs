//! The checks of Istio: its version, its root namespace, the namespaces that it discovers, and its
//! CRDs.

use anyhow::{Context as _, ensure};
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::ConfigMap},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use serde_json::Value;

use crate::desired::istio::{IstioMesh, PluginKind};

/// Checks Istio, and returns what it found, one line each.
///
/// # Errors
/// If Istio is missing, is too old, or has another root namespace than `mesh`.
pub(super) async fn check(client: &Client, mesh: &IstioMesh) -> anyhow::Result<Vec<String>> {
    let params = ListParams::default().labels(ISTIOD);
    let deployments = Api::<Deployment>::all(client.clone()).list(&params).await;
    let deployments = deployments.context("cannot list Deployments to find istiod")?.items;
    let istiod = deployments.first().with_context(|| {
        format!("istiod not found (a Deployment with the label {ISTIOD}): install Istio first")
    })?;
    let namespace = istiod.namespace().unwrap_or_default();
    check_version(&version(istiod))?;
    check_crds(client, mesh.plugin).await?;
    let config = mesh_config(client, &namespace, istiod).await?;
    let root = config["rootNamespace"].as_str().unwrap_or(&namespace);
    ensure!(
        root == mesh.root_namespace,
        "wrong root namespace `{}`: Istio's root namespace is `{root}`; run this command again with \
         `--istio-namespace {root}`",
        mesh.root_namespace
    );
    let revisions = match deployments.len() {
        1 => String::new(),
        count => format!(" ({count} revisions)"),
    };
    let mut found = vec![format!(
        "Istio {} in {namespace}{revisions} (skycap needs {}.{} and is tested with 1.31 and Envoy 1.40)",
        version(istiod),
        OLDEST.0,
        OLDEST.1
    )];
    found.extend(discovery_selectors(&config));
    Ok(found)
}

/// Envoy rejects a whole listener for one field that it does not know. skycap's EnvoyFilters use
/// `early_header_mutation_extensions` (Envoy 1.25) and the matching input of filter states (in Istio's
/// Envoy since 1.24 at the latest). An unknown version, such as that of a build of one's own, is let
/// pass.
fn check_version(version: &str) -> anyhow::Result<()> {
    let mut numbers = version.trim_start_matches('v').split(['.', '-']).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return Ok(());
    };
    ensure!(
        (major, minor) >= OLDEST,
        "this Istio is too old: its version is {version}, and skycap's EnvoyFilters need {}.{}; upgrade \
         Istio",
        OLDEST.0,
        OLDEST.1
    );
    Ok(())
}

/// Plugins must have the field `match`, which limits them to outbound requests.
async fn check_crds(client: &Client, plugin: PluginKind) -> anyhow::Result<()> {
    let crds = Api::<CustomResourceDefinition>::all(client.clone());
    for name in [plugin.crd(), ENVOY_FILTERS] {
        let crd = crds.get_opt(name).await;
        let crd = crd
            .with_context(|| format!("cannot read CustomResourceDefinition {name}"))?
            .with_context(|| {
                format!("CustomResourceDefinition {name} not found: install Istio's CRDs")
            })?;
        let fields =
            crd.spec.versions.iter().filter(|version| version.served).find_map(|version| {
                let schema = version.schema.as_ref()?.open_api_v3_schema.as_ref()?;
                schema.properties.as_ref()?.get("spec")?.properties.as_ref()
            });
        let has_match = fields.is_none_or(|fields| fields.contains_key("match"));
        ensure!(
            name == ENVOY_FILTERS || has_match,
            "this Istio is too old: its {name} have no field `match`, so a plugin cannot be limited to \
             outbound requests; upgrade Istio and its CRDs"
        );
    }
    Ok(())
}

/// Istio's mesh configuration; null if there is none.
async fn mesh_config(
    client: &Client,
    namespace: &str,
    istiod: &Deployment,
) -> anyhow::Result<Value> {
    let revision = istiod.labels().get("istio.io/rev").filter(|revision| *revision != "default");
    let name = revision.map_or_else(|| "istio".to_owned(), |revision| format!("istio-{revision}"));
    let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let map = maps.get_opt(&name).await;
    let map = map.with_context(|| format!("cannot read Istio's ConfigMap {namespace}/{name}"))?;
    let text = map.and_then(|map| map.data?.remove("mesh")).unwrap_or_default();
    serde_saphyr::from_str::<Option<Value>>(&text)
        .map(Option::unwrap_or_default)
        .with_context(|| format!("invalid YAML in Istio's ConfigMap {namespace}/{name}, data.mesh"))
}

fn version(istiod: &Deployment) -> String {
    let label = istiod.labels().get("app.kubernetes.io/version").cloned();
    let image_tag = || {
        let spec = istiod.spec.template.spec.as_ref()?;
        let (_, tag) = spec.containers.first()?.image.as_deref()?.rsplit_once(':')?;
        Some(tag.to_owned())
    };
    label.or_else(image_tag).unwrap_or_else(|| "(unknown version)".into())
}

/// A note about `discoverySelectors`: Istio ignores Services in namespaces that they do not select.
fn discovery_selectors(config: &Value) -> Option<String> {
    let selectors = config["discoverySelectors"].as_array().filter(|list| !list.is_empty())?;
    let selectors: Vec<_> = selectors.iter().map(ToString::to_string).collect();
    Some(format!(
        "Istio's discoverySelectors limit it to some namespaces; sandboxes in other namespaces route \
         nothing: {}",
        selectors.join(" or ")
    ))
}

/// The oldest Istio whose Envoy has all that skycap's EnvoyFilters use.
const OLDEST: (u32, u32) = (1, 24);
const ISTIOD: &str = "app=istiod";
const ENVOY_FILTERS: &str = "envoyfilters.networking.istio.io";
