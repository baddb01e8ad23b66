//! What of a namespace a fork must not change.

use std::collections::BTreeMap;

use kube::{Api, Client, ResourceExt as _, api::ListParams, core::DynamicObject};
use serde_json::{Value, json};
use skycap::{environment::labels::SANDBOX_LABEL, objects::resource};

/// What the controllers have made of each object of the baseline, by kind and name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Snapshot(pub(super) BTreeMap<String, Value>);

impl Snapshot {
    pub(super) async fn read(client: &Client, namespace: &str) -> anyhow::Result<Self> {
        let mut all = BTreeMap::new();
        for (api_version, kind, path) in PARTS {
            let baseline = ListParams::default().labels(&format!("!{SANDBOX_LABEL}"));
            for object in list(client, namespace, api_version, kind, &baseline).await? {
                // The name of an EndpointSlice is generated, that of its Service is not.
                let labels = object.labels();
                let name = labels
                    .get("kubernetes.io/service-name")
                    .cloned()
                    .unwrap_or_else(|| object.name_any());
                let mut part = object.data.pointer(path).cloned().unwrap_or_default();
                keep_lasting(&mut part);
                let value = json!({"generation": object.metadata.generation, "is": part});
                all.insert(format!("{kind} {name}"), value);
            }
        }
        Ok(Self(all))
    }

    /// The first object that differs, as it was and as it is.
    pub(super) fn difference(&self, after: &Self) -> Option<String> {
        let names = self.0.keys().chain(after.0.keys());
        let changed = names.into_iter().find(|name| self.0.get(*name) != after.0.get(*name))?;
        Some(format!("{changed}: {:?}, and then {:?}", self.0.get(changed), after.0.get(changed)))
    }
}

pub(super) async fn list(
    client: &Client,
    namespace: &str,
    api_version: &str,
    kind: &str,
    params: &ListParams,
) -> anyhow::Result<Vec<DynamicObject>> {
    let resource = resource(api_version, kind);
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
    Ok(api.list(params).await?.items)
}

/// What sandboxes have left in the namespace.
pub(super) async fn left(client: &Client, namespace: &str) -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    for (api_version, kind, label) in LEFT {
        let params = ListParams::default().labels(label);
        let objects = list(client, namespace, api_version, kind, &params).await?;
        left.extend(objects.into_iter().filter_map(|object| object.metadata.name));
    }
    Ok(left)
}

/// When a condition was looked at last says nothing about what it is, and the text of one lists several
/// autoscalers in any order.
fn keep_lasting(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !name.ends_with("Time") && name != "message");
            fields.values_mut().for_each(keep_lasting);
        }
        Value::Array(items) => items.iter_mut().for_each(keep_lasting),
        _ => {}
    }
}

/// The part of each kind that controllers write, and the generation, which changes with the spec.
const PARTS: [(&str, &str, &str); 8] = [
    ("discovery.k8s.io/v1", "EndpointSlice", "/endpoints"),
    ("autoscaling/v2", "HorizontalPodAutoscaler", "/status"),
    ("policy/v1", "PodDisruptionBudget", "/status"),
    ("apps/v1", "Deployment", "/status"),
    ("apps/v1", "StatefulSet", "/status"),
    ("apps/v1", "DaemonSet", "/status"),
    ("apps/v1", "ReplicaSet", "/status"),
    ("v1", "Service", "/spec"),
];
/// What a sandbox is made of, with the label that tells it from the baseline.
const LEFT: [(&str, &str, &str); 8] = [
    ("v1", "ConfigMap", "skycap.dev/kind"),
    ("v1", "Service", SANDBOX_LABEL),
    ("v1", "Pod", SANDBOX_LABEL),
    ("v1", "PersistentVolumeClaim", SANDBOX_LABEL),
    ("apps/v1", "Deployment", SANDBOX_LABEL),
    ("apps/v1", "StatefulSet", SANDBOX_LABEL),
    ("apps/v1", "ReplicaSet", SANDBOX_LABEL),
    ("discovery.k8s.io/v1", "EndpointSlice", SANDBOX_LABEL),
];
