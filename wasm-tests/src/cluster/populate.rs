//! What a cluster has before skycap comes: CRDs, two namespaces, and istiod's Deployment.

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use serde_json::{Value, json};

use super::{Cluster, PATIENCE, obtain::ISTIO_VERSION};

impl Cluster {
    /// Istio's chart brings its own Deployment where there is a node.
    pub(super) async fn populate(&self) -> anyhow::Result<()> {
        for path in &self.parts.crds {
            self.install_crds(path).await?;
        }
        for namespace in ["shop", "istio-system"] {
            let namespace =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            self.apply(&namespace).await?;
        }
        if self.node.is_none() {
            self.apply(&istiod_deployment()).await?;
        }
        Ok(())
    }

    pub(super) async fn install_crds(&self, path: &Path) -> anyhow::Result<()> {
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
    let labels = json!({"app": "istiod", "app.kubernetes.io/version": ISTIO_VERSION});
    let container =
        json!({"name": "discovery", "image": format!("docker.io/istio/pilot:{ISTIO_VERSION}")});
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
