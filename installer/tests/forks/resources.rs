//! The laws of resources, over generated ones and generated namespaces. Section 11 of the contract.

use kube::core::DynamicObject;
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};
use skycap::{
    desired::plan::Step,
    environment::{
        baseline::Baseline,
        plan::{SandboxPlan, recorded},
        sandbox::{End, Sandbox},
        selector::{Labels, Purpose},
        spec::{ForkSpec, SandboxSpec},
        workload::Workload,
    },
    objects::{Object, ObjectRef, reference_of},
};

use super::{namespaces::namespaces, owned};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn two_sandboxes_never_meet(objects in namespaces(), resource in resource()) {
        let baseline = with(&objects, &resource);
        for workload in baseline.workloads.keys() {
            let Ok(first) = sandbox("pr-3", workload, &baseline) else { continue };
            let Ok(second) = sandbox("pr-4", workload, &baseline) else { continue };
            for (one, other) in [(&first, &second), (&second, &first)] {
                let names = names(other);
                prop_assert!(secrets(one).chain(self::names(one)).all(|name| !names.contains(&name)));
                for selector in Baseline::new(all(one)).selectors {
                    for labels in pods(other).iter().chain(&baseline_pods(&baseline)) {
                        prop_assert!(!selector.terms.select(labels), "{:?} {:?}", selector, labels);
                    }
                }
            }
        }
    }

    #[test]
    fn the_baseline_and_a_resource_never_meet(objects in namespaces(), resource in resource()) {
        let baseline = with(&objects, &resource);
        for workload in baseline.workloads.keys() {
            let Ok(sandbox) = sandbox("pr-3", workload, &baseline) else { continue };
            prop_assert!(names(&sandbox).iter().all(|name| !baseline.has(name)));
            let members = baseline.selectors.iter().filter(|one| one.purpose == Purpose::Membership);
            for selector in members {
                for labels in pods(&sandbox) {
                    prop_assert!(!selector.terms.select(&labels), "{:?} {:?}", selector, labels);
                }
            }
        }
    }

    /// Each container that uses a password refers to its Secret before that, and no object has one.
    #[test]
    fn a_password_stands_in_no_object(objects in namespaces(), resource in resource()) {
        let baseline = with(&objects, &resource);
        for workload in baseline.workloads.keys() {
            let Ok(sandbox) = sandbox("pr-3", workload, &baseline) else { continue };
            for object in all(&sandbox) {
                let text = json!(object).to_string();
                prop_assert!(!text.contains("${"), "{}", text);
                for container in containers(&json!(object)) {
                    let text = container.to_string();
                    let Some(used) = text.find("$(SKYCAP_DB_PASSWORD)") else { continue };
                    let first = &container["env"][0];
                    prop_assert_eq!(&first["name"], "SKYCAP_DB_PASSWORD", "{} at {}", text, used);
                    let secret = &first["valueFrom"]["secretKeyRef"]["name"];
                    prop_assert!(secrets(&sandbox).any(|name| *secret == name.name), "{}", text);
                }
            }
            for secret in sandbox.resources.iter().flat_map(|one| &one.secrets) {
                let secret = json!(secret);
                prop_assert!(secret["data"].is_null() && secret["stringData"].is_null());
            }
        }
    }

    /// A second `up` writes nothing, one after `down` everything, and one without the resource deletes
    /// the record alone.
    #[test]
    fn a_second_up_changes_nothing(objects in namespaces(), resource in resource()) {
        let baseline = with(&objects, &resource);
        for workload in baseline.workloads.keys() {
            let Ok(first) = sandbox("pr-3", workload, &baseline) else { continue };
            let live = live(&first, &baseline);
            let second = sandbox("pr-3", workload, &live);
            let second = second.map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
            let map = |uid: &str| super::config_map(&second, uid);
            let (total, records) = (all(&second).len(), second.resources.len());
            for (map, writes) in [(map("1"), 0), (map("2"), total), (None, total)] {
                let plan = plan(&second, &live, map)?;
                let is_counted = |step: &&Step| {
                    !matches!(step, Step::Once(_)) && step.reference() != second.reference()
                };
                let steps = plan.whole().steps.iter().filter(is_counted).count();
                prop_assert_eq!(steps, writes, "{}", plan.whole());
            }
            let Ok(without) = super::fork("pr-3", workload, &live) else { continue };
            let plan = plan(&without, &live, map("1"))?;
            let deleted: Vec<_> = plan.objects.steps.iter().filter_map(|step| match step {
                Step::Delete(reference) => Some(reference.name.clone()),
                _ => None,
            }).collect();
            prop_assert_eq!(deleted, vec!["db-pr-3".to_owned(); records]);
        }
    }
}

fn plan(
    sandbox: &Sandbox,
    baseline: &Baseline,
    live: Option<DynamicObject>,
) -> Result<SandboxPlan, TestCaseError> {
    assert_eq!(recorded(sandbox, baseline).is_empty(), sandbox.resources.is_empty());
    SandboxPlan::new(sandbox, End::Ttl, baseline, live)
        .map_err(|error| TestCaseError::fail(error.to_string()))
}

/// A sandbox with the resource `db` and a fork.
fn sandbox(name: &str, workload: &Workload, baseline: &Baseline) -> Result<Sandbox, String> {
    let mut spec = SandboxSpec::new(name).map_err(|error| error.to_string())?;
    spec.forks.insert(workload.clone(), ForkSpec::default());
    spec.resources.push("db".into());
    Sandbox::new(&spec, "shop", baseline).map_err(|errors| format!("{errors:?}"))
}

/// The namespace with the sandbox in it: ConfigMap 1 owns the record and the forks, and record 7 its
/// objects.
fn live(sandbox: &Sandbox, baseline: &Baseline) -> Baseline {
    let mut live = baseline.clone();
    let value = |object: &Object| serde_json::from_value(json!(object)).ok();
    let of_map = sandbox.resources.iter().map(|one| &one.record).chain(sandbox.objects());
    let of_record = sandbox.resources.iter().flat_map(|one| &one.objects);
    for mut object in owned(of_map.filter_map(value).collect(), "1") {
        object.metadata.uid = Some("7".into());
        live.add_named(object);
    }
    for object in owned(of_record.filter_map(value).collect(), "7") {
        live.add_named(object);
    }
    live
}

fn with(objects: &[DynamicObject], resource: &Value) -> Baseline {
    let resource = serde_json::from_value(resource.clone()).ok();
    Baseline::new(objects.iter().cloned().chain(resource))
}

/// The ConfigMap of a resource with a Deployment, and with some other objects.
fn resource() -> impl Strategy<Value = Value> {
    let labels = select(vec![
        json!({"app": "${name}"}),
        json!({"app": "${name}", "tier": "back"}),
        json!({"db": "postgres"}),
        json!({"app": "cart", "track": "stable"}),
    ]);
    let parts = vec(select(vec!["service", "stateful", "policy", "job", "config", "pod"]), 0..5);
    (labels, parts).prop_map(|(labels, parts)| {
        let mut objects = vec![workload("Deployment", "${name}", &labels)];
        for (index, part) in parts.into_iter().enumerate() {
            let name = format!("${{name}}-{index}");
            let metadata = json!({"name": name, "labels": labels});
            objects.push(match part {
                "service" => json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": labels, "ports": [{"port": 1}]}}),
                "policy" => json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": {"podSelector": {}}}),
                "config" => json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"key": "${key}"}}),
                "pod" => json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod()}),
                "job" => workload("Job", &name, &labels),
                _ => workload("StatefulSet", &name, &labels),
            });
        }
        let manifest: Vec<_> = objects.iter().map(Value::to_string).collect();
        let env = "URL: postgres://app:${random.password}@${name}\nHOST: ${name}\n";
        let data = json!({"manifest": manifest.join("\n---\n"), "ready": "deployment/${name}", "env": env});
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "db", "namespace": "shop", "labels": {"skycap.dev/kind": "resource"}},
            "data": data,
        })
    })
}

fn workload(kind: &str, name: &str, labels: &Value) -> Value {
    let api_version = if kind == "Job" { "batch/v1" } else { "apps/v1" };
    let mut spec = json!({"template": {"metadata": {"labels": labels}, "spec": pod()}});
    if kind != "Job" {
        spec["selector"] = json!({"matchLabels": labels});
    }
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn pod() -> Value {
    let env = json!([{"name": "PASSWORD", "value": "${random.password}"}]);
    json!({
        "initContainers": [{"name": "schema", "image": "db:1", "args": ["-p", "a:${random.password}"]}],
        "containers": [{"name": "db", "image": "db:1", "env": env}],
    })
}

fn all(sandbox: &Sandbox) -> Vec<DynamicObject> {
    let all = sandbox.resource_objects().chain(sandbox.objects());
    all.filter_map(|object| serde_json::from_value(json!(object)).ok()).collect()
}

fn names(sandbox: &Sandbox) -> Vec<ObjectRef> {
    all(sandbox).iter().map(reference_of).collect()
}

fn secrets(sandbox: &Sandbox) -> impl Iterator<Item = ObjectRef> {
    sandbox.resources.iter().flat_map(|one| one.secrets.iter().map(Object::reference))
}

/// The labels of the Pods of its resources and forks.
fn pods(sandbox: &Sandbox) -> Vec<Labels> {
    let all = all(sandbox);
    let of_templates = all.iter().filter(|object| object.data.pointer("/spec/template").is_some());
    let mut pods: Vec<_> = of_templates.map(Baseline::pod_labels).collect();
    let single = all.iter().filter(|object| reference_of(object).kind == "Pod");
    pods.extend(single.filter_map(|pod| pod.metadata.labels.clone()));
    pods
}

fn baseline_pods(baseline: &Baseline) -> Vec<Labels> {
    baseline.workloads.values().map(Baseline::pod_labels).collect()
}

fn containers(object: &Value) -> Vec<Value> {
    let pod = object.pointer("/spec/template/spec").unwrap_or_else(|| &object["spec"]);
    let lists =
        ["initContainers", "containers"].into_iter().filter_map(|list| pod[list].as_array());
    lists.flatten().cloned().collect()
}
