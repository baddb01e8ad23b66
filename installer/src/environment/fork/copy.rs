//! What of a baseline's workload its fork takes over.

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::{ANNOTATION, Tenant};
use crate::environment::{
    invalid_fork::InvalidFork,
    labels::{in_sandbox, short_hash, stateful_set_in_sandbox},
    workload::{Workload, WorkloadKind},
};

/// The baseline's workload as a Deployment or StatefulSet with one Pod. Its labels and annotations are
/// not copied: Argo CD, Flux and Helm would take the fork for their own, and delete it.
pub(super) fn copy(
    original: &DynamicObject,
    tenant: Tenant<'_>,
    workload: &Workload,
) -> Result<Value, InvalidFork> {
    let spec = &original.data["spec"];
    if !spec["template"]["spec"].is_object() {
        return Err(InvalidFork::NoTemplate(referred(spec)));
    }
    let kind = workload.kind.of_fork();
    let (api_version, kind_name) = kind.names();
    let mut copied = json!({"replicas": 1, "template": without_nulls(&spec["template"])});
    let kept: &[&str] = match workload.kind {
        WorkloadKind::Deployment => {
            &["minReadySeconds", "progressDeadlineSeconds", "revisionHistoryLimit"]
        }
        WorkloadKind::StatefulSet => &[
            "minReadySeconds",
            "podManagementPolicy",
            "revisionHistoryLimit",
            "volumeClaimTemplates",
        ],
        WorkloadKind::DaemonSet | WorkloadKind::Rollout => &["minReadySeconds"],
    };
    for name in kept {
        if let Some(value) = spec.get(*name) {
            copied[*name] = without_nulls(value);
        }
    }
    match kind {
        WorkloadKind::StatefulSet => {
            copied["persistentVolumeClaimRetentionPolicy"] = json!({"whenDeleted": "Delete"});
            let claims = copied.get_mut("volumeClaimTemplates").and_then(Value::as_array_mut);
            for claim in claims.into_iter().flatten() {
                claim.as_object_mut().map(|claim| claim.remove("status"));
            }
        }
        // The old Pod has to be gone before the new one serves: a request must never get either.
        _ => copied["strategy"] = json!({"type": "Recreate"}),
    }
    Ok(json!({
        "apiVersion": api_version,
        "kind": kind_name,
        "metadata": {
            "name": name(kind, &workload.name, tenant.sandbox),
            "namespace": tenant.namespace,
        },
        "spec": copied,
    }))
}

fn name(kind: WorkloadKind, base: &str, sandbox: &str) -> String {
    match kind {
        WorkloadKind::StatefulSet => stateful_set_in_sandbox(base, sandbox),
        _ => in_sandbox(base, sandbox),
    }
}

/// The workload that a Rollout takes its template from.
fn referred(spec: &Value) -> String {
    let text = |field: &str| spec["workloadRef"][field].as_str();
    match (text("kind"), text("name")) {
        (Some(kind), Some(name)) => format!("`{}/{name}`", kind.to_ascii_lowercase()),
        _ => "a workload that has one".into(),
    }
}

/// A short hash of what a fork takes from its baseline. If it is no longer the one in the fork's label
/// [`BASELINE_LABEL`](super::BASELINE_LABEL), the baseline has changed.
#[must_use]
pub fn fingerprint(workload: &DynamicObject) -> String {
    let annotation = workload.metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION));
    let claims = workload.data.pointer("/spec/volumeClaimTemplates");
    let parts = json!([without_nulls(&workload.data["spec"]["template"]), annotation, claims]);
    short_hash(parts.to_string().as_bytes())
}

/// A copy without the fields that are null, such as `creationTimestamp`: applied, these mean nothing.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            fields.map(|(name, value)| (name.clone(), without_nulls(value))).collect()
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        value => value.clone(),
    }
}
