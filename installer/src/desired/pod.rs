//! What the Pods of skycap have in common: the controller's and those of splitters.

use serde_json::{Value, json};

/// A Pod's part of what the level `restricted` of the Pod Security Standards asks for.
pub(super) fn pod_security() -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

/// A container's part of it, and a root file system that nothing writes to.
pub(super) fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": true,
    })
}

/// Replicas on different nodes, where there are several.
pub(super) fn spread(labels: &Value) -> Value {
    json!([{
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }])
}

/// A probe of the port `http`.
pub(super) fn probe(path: &str) -> Value {
    json!({"httpGet": {"path": path, "port": "http"}, "periodSeconds": 5})
}

/// The variable with the name of the Pod.
pub(super) fn pod_name() -> Value {
    json!({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
}
