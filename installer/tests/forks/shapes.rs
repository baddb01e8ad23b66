//! Shapes of public demo systems that forks once got wrong, each in the fewest fields.

use serde_json::{Value, json};
use skycap::environment::{baseline::Baseline, sandbox::Sandbox, workload::Workload};

/// Argo Rollouts narrows the Services of a Rollout to its ReplicaSets.
#[test]
fn a_rollout_is_served_by_its_narrowed_services() -> anyhow::Result<()> {
    let service = |name: &str, hash: &str| {
        let selector = json!({"app": "web", "rollouts-pod-template-hash": hash});
        object("v1", "Service", name, json!({"selector": selector, "ports": [{"port": 80}]}))
    };
    let rollout = workload("argoproj.io/v1alpha1", "Rollout", "web", json!({}));
    let sandbox =
        fork("rollout/web", vec![rollout, service("stable", "a"), service("canary", "b")])?;
    assert_eq!(sandbox.services.keys().collect::<Vec<_>>(), ["canary", "stable"]);
    Ok(())
}

/// Each Pod of a StatefulSet has its index as a label, a fork's too.
#[test]
fn a_service_for_the_first_pod_does_not_select_the_forks_first_pod() -> anyhow::Result<()> {
    let set = workload("apps/v1", "StatefulSet", "db", json!({}));
    let selector = json!({"tier": "data", "apps.kubernetes.io/pod-index": "0"});
    let service = json!({"selector": selector, "ports": [{"port": 80}]});
    let sandbox = fork("statefulset/db", vec![set, object("v1", "Service", "first", service)])?;
    let fork = serde_json::to_value(&sandbox.forks[0].object)?;
    assert_eq!(fork["spec"]["template"]["metadata"]["labels"]["tier"], "data-pr-9");
    Ok(())
}

/// Without ports, no Service but a headless one is valid.
#[test]
fn a_service_without_ports_is_not_forked() -> anyhow::Result<()> {
    let set = workload("apps/v1", "StatefulSet", "db", json!({"serviceName": "db"}));
    let service = json!({"selector": {"app": "db"}, "clusterIP": "None"});
    let sandbox = fork("statefulset/db", vec![set, object("v1", "Service", "db", service)])?;
    assert!(sandbox.services.is_empty() && sandbox.forks[0].governing.is_some());
    Ok(())
}

/// A StatefulSet's own claim replaces the volume of its name.
#[test]
fn only_shared_claims_are_noted() -> anyhow::Result<()> {
    let volume = |name: &str| json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
    let mut set = workload(
        "apps/v1",
        "StatefulSet",
        "db",
        json!({"volumeClaimTemplates": [{"metadata": {"name": "own"}}]}),
    );
    set["spec"]["template"]["spec"]["volumes"] = json!([volume("own"), volume("shared")]);
    let notes = fork("statefulset/db", vec![set])?.forks.remove(0).notes;
    assert!(notes[0].contains("`shared`") && !notes.iter().any(|note| note.contains("`own`")));
    Ok(())
}

/// The scheduler keeps the baseline's next Pod off the fork's node.
#[test]
fn a_fork_that_repels_its_baseline_is_noted() -> anyhow::Result<()> {
    let term = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "db"}}});
    let affinity =
        json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    let mut set = workload("apps/v1", "StatefulSet", "db", json!({}));
    set["spec"]["template"]["spec"]["affinity"] = affinity;
    let notes = fork("statefulset/db", vec![set])?.forks.remove(0).notes;
    assert!(notes.iter().any(|note| note.contains("podAntiAffinity")), "{notes:?}");
    Ok(())
}

#[test]
fn the_name_of_a_workload_may_have_dots() -> anyhow::Result<()> {
    let daemon = workload("apps/v1", "DaemonSet", "fluentd-v2.2.0", json!({}));
    let sandbox = fork("daemonset/fluentd-v2.2.0", vec![daemon])?;
    assert_eq!(sandbox.forks[0].name(), "fluentd-v2.2.0-pr-9");
    assert!("cart.".parse::<Workload>().is_err() && "a..b".parse::<Workload>().is_err());
    Ok(())
}

/// Kubernetes creates no Pod of a StatefulSet whose name and hash are no label together.
#[test]
fn the_pods_of_a_long_stateful_set_have_valid_labels() -> anyhow::Result<()> {
    let name = "elasticsearch-coordinating-only-data-warm-nodes-a1";
    let set = workload("apps/v1", "StatefulSet", name, json!({}));
    let fork = fork(&format!("statefulset/{name}"), vec![set])?.forks[0].name();
    let revision = format!("{fork}-{}", "0".repeat(10));
    assert!(revision.len() <= 63, "{revision}");
    Ok(())
}

#[test]
fn a_refusal_says_what_to_do() -> anyhow::Result<()> {
    let mut ports = workload("apps/v1", "Deployment", "web", json!({}));
    ports["spec"]["template"]["spec"]["containers"][0]["ports"] =
        json!([{"containerPort": 1, "hostPort": 9411}, {"containerPort": 2, "hostPort": 6831}]);
    let reference = json!({"workloadRef": {"kind": "Deployment", "name": "web"}, "template": null});
    let rollout = workload("argoproj.io/v1alpha1", "Rollout", "web", reference);
    for (workload, object, expected) in
        [("web", ports, "6831, 9411"), ("rollout/web", rollout, "fork `deployment/web`")]
    {
        let error = fork(workload, vec![object]).err().map(|error| error.to_string());
        assert!(error.as_ref().is_some_and(|error| error.contains(expected)), "{error:?}");
    }
    Ok(())
}

fn fork(workload: &str, objects: Vec<Value>) -> anyhow::Result<Sandbox> {
    let objects: Result<Vec<_>, _> = objects.into_iter().map(serde_json::from_value).collect();
    super::fork("pr-9", &workload.parse()?, &Baseline::new(objects?))
        .map_err(|errors| anyhow::anyhow!("{errors:?} {}", errors[0]))
}

/// A workload with one container, and with these fields of its `spec`.
fn workload(api_version: &str, kind: &str, name: &str, spec: Value) -> Value {
    let labels = json!({"app": name, "tier": "data"});
    let mut all = json!({
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "app", "image": "registry/app:1"}]},
        },
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        all[field] = value.clone();
    }
    object(api_version, kind, name, all)
}

fn object(api_version: &str, kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec})
}
