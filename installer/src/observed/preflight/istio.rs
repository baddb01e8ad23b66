//! Istio: its version, its root namespace, which namespaces it sees, and whether its CRDs are new
//! enough.

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::ConfigMap},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use serde_json::Value;

use crate::desired::istio::{IstioMesh, PluginKind};

/// Gives what it found, a line each.
///
/// # Errors
/// When there is no Istio, it is too old, or its root namespace is another one.
pub(super) async fn look(client: &Client, mesh: &IstioMesh) -> anyhow::Result<Vec<String>> {
    let params = ListParams::default().labels(ISTIOD);
    let deployments = Api::<Deployment>::all(client.clone()).list(&params).await;
    let deployments = deployments.context("cannot list Deployments, to find istiod")?.items;
    let Some(istiod) = deployments.first() else {
        bail!("there is no istiod (a Deployment with {ISTIOD}): install Istio first");
    };
    let home = istiod.namespace().unwrap_or_default();
    check_crds(client, mesh.plugin).await?;
    let config = mesh_config(client, &home, istiod).await?;
    let root = config["rootNamespace"].as_str().unwrap_or(&home);
    ensure!(
        root == mesh.root_namespace,
        "Istio's root namespace is `{root}`, where plugins hold for all workloads, and not `{}`; run \
         this again with `--istio-namespace {root}`",
        mesh.root_namespace
    );
    let others = match deployments.len() {
        1 => String::new(),
        n => format!(", and {} revisions more", n - 1),
    };
    let mut found = vec![format!("Istio {} in {home}{others}", version(istiod))];
    found.extend(selectors(&config));
    Ok(found)
}

/// The plugin must be able to say that it is for outbound requests, and the dispatch route to be one.
async fn check_crds(client: &Client, plugin: PluginKind) -> anyhow::Result<()> {
    let crds = Api::<CustomResourceDefinition>::all(client.clone());
    for name in [plugin.crd(), ENVOY_FILTERS] {
        let crd = crds.get_opt(name).await.with_context(|| format!("cannot read CRD {name}"))?;
        let crd = crd.with_context(|| format!("the cluster has no CRD {name}: install Istio's"))?;
        let fields =
            crd.spec.versions.iter().filter(|version| version.served).find_map(|version| {
                let schema = version.schema.as_ref()?.open_api_v3_schema.as_ref()?;
                schema.properties.as_ref()?.get("spec")?.properties.clone()
            });
        let is_old = |fields: &std::collections::BTreeMap<_, _>| !fields.contains_key("match");
        ensure!(
            name == ENVOY_FILTERS || !fields.as_ref().is_some_and(is_old),
            "this Istio is too old: its {name} have no `match`, so a plugin cannot be for outbound \
             requests; upgrade Istio, and its CRDs with it"
        );
    }
    Ok(())
}

/// Istio's mesh configuration; a mesh may have none.
async fn mesh_config(client: &Client, home: &str, istiod: &Deployment) -> anyhow::Result<Value> {
    let revision = istiod.labels().get("istio.io/rev").filter(|revision| *revision != "default");
    let name = revision.map_or_else(|| "istio".to_owned(), |revision| format!("istio-{revision}"));
    let maps = Api::<ConfigMap>::namespaced(client.clone(), home);
    let map = maps.get_opt(&name).await;
    let map = map.with_context(|| format!("cannot read Istio's ConfigMap {home}/{name}"))?;
    let text = map.and_then(|map| map.data?.remove("mesh")).unwrap_or_default();
    serde_saphyr::from_str::<Option<Value>>(&text)
        .map(Option::unwrap_or_default)
        .with_context(|| format!("Istio's ConfigMap {home}/{name}, `mesh`, is no YAML"))
}

fn version(istiod: &Deployment) -> String {
    let label = istiod.labels().get("app.kubernetes.io/version").cloned();
    let image = || {
        let spec = istiod.spec.template.spec.as_ref()?;
        let (_, tag) = spec.containers.first()?.image.as_deref()?.rsplit_once(':')?;
        Some(tag.to_owned())
    };
    label.or_else(image).unwrap_or_else(|| "of an unknown version".into())
}

/// What to say of `discoverySelectors`: Istio knows no Services of other namespaces.
fn selectors(config: &Value) -> Option<String> {
    let selectors = config["discoverySelectors"].as_array().filter(|list| !list.is_empty())?;
    let texts: Vec<_> = selectors.iter().map(ToString::to_string).collect();
    Some(format!(
        "Istio sees only namespaces that discoverySelectors choose, and sandboxes elsewhere route \
         nothing: {}",
        texts.join(" or ")
    ))
}

const ISTIOD: &str = "app=istiod";
const ENVOY_FILTERS: &str = "envoyfilters.networking.istio.io";
