//! The laws of forks, over generated namespaces. Section 9 of the contract.
#![forbid(unsafe_code)]

mod examples;
mod namespaces;
mod policies;
mod queues;
mod refused_resources;
mod resources;
mod shapes;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::DynamicObject;
use proptest::prelude::*;
use serde_json::{Value, json};
use skycap::{
    environment::{
        baseline::Baseline,
        invalid_fork::InvalidFork,
        labels::SANDBOX_LABEL,
        plan::SandboxPlan,
        sandbox::{End, InvalidSandbox, Sandbox},
        selector::{Labels, Purpose},
        spec::{ForkSpec, SandboxSpec},
        workload::Workload,
    },
    objects::Object,
};

use self::namespaces::namespaces;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn nothing_of_the_baseline_selects_a_fork(objects in namespaces()) {
        let baseline = Baseline::new(objects);
        for workload in baseline.workloads.keys() {
            let Ok(sandbox) = fork("pr-1", workload, &baseline) else { continue };
            let pods = pods(&sandbox);
            let members = baseline.selectors.iter().filter(|one| one.purpose == Purpose::Membership);
            for selector in members {
                prop_assert!(!selector.terms.select(&pods[0]), "{:?} selects {:?}", selector, pods);
            }
        }
    }

    /// A fork is refused only where a selector is made of exclusions, or names the fork's own labels.
    #[test]
    fn most_workloads_can_be_forked(objects in namespaces()) {
        let baseline = Baseline::new(objects);
        for workload in baseline.workloads.keys() {
            let Err(errors) = fork("pr-2", workload, &baseline) else { continue };
            for error in errors {
                let InvalidSandbox::Fork(_, InvalidFork::StillSelected(object)) = &error else {
                    return Err(TestCaseError::fail(error.to_string()));
                };
                let exclusive = baseline.selectors.iter().any(|one| {
                    one.object.to_string() == *object && one.terms.identity().next().is_none()
                        || one.terms.match_labels.get("app").is_some_and(|app| app.ends_with("-pr-1"))
                        || one.terms.match_expressions.iter().any(|one| one.values.len() > 1)
                });
                prop_assert!(exclusive, "{}", error);
            }
        }
    }

    #[test]
    fn a_fork_serves_what_its_baseline_serves(objects in namespaces()) {
        let baseline = Baseline::new(objects);
        for (workload, object) in &baseline.workloads {
            let Ok(sandbox) = fork("pr-1", workload, &baseline) else { continue };
            let labels = Baseline::pod_labels(object);
            let services = baseline.selectors.iter().filter(|one| one.object.kind == "Service");
            let serving: Vec<_> = services.filter(|one| one.terms.select(&labels)).collect();
            prop_assert_eq!(sandbox.services.len(), serving.len());
            let forks = Baseline::new(objects_of(&sandbox));
            for selector in &forks.selectors {
                prop_assert!(selector.terms.select(&pods(&sandbox)[0]), "{:?}", selector);
            }
        }
    }

    #[test]
    fn everything_that_is_not_named_is_kept(objects in namespaces()) {
        let baseline = Baseline::new(objects);
        for (workload, original) in &baseline.workloads {
            let Ok(sandbox) = fork("pr-1", workload, &baseline) else { continue };
            let fork = serde_json::to_value(&sandbox.forks[0].object).unwrap_or_default();
            let mut pod = fork["spec"]["template"]["spec"].clone();
            for list in ["containers", "initContainers"] {
                for container in pod[list].as_array_mut().into_iter().flatten() {
                    let env = container["env"].as_array().cloned().unwrap_or_default();
                    let key = env.iter().filter(|one| one["name"] == "SKYCAP_KEY");
                    let key: Vec<_> = key.collect();
                    let expected = json!({"name": "SKYCAP_KEY", "value": "pr-1"});
                    prop_assert_eq!(key, vec![&expected]);
                    container.as_object_mut().map(|container| container.remove("env"));
                }
            }
            if pod["initContainers"].is_null() {
                pod.as_object_mut().map(|pod| pod.remove("initContainers"));
            }
            let mut before = original.data["spec"]["template"]["spec"].clone();
            before["containers"][0].as_object_mut().map(|container| container.remove("env"));
            prop_assert_eq!(pod, before);
            prop_assert_eq!(&fork["spec"]["replicas"], 1);
            let text = fork.to_string();
            for marker in ["argocd", "helm.sh", "instance", "example.com", "creationTimestamp", ":null"] {
                prop_assert!(!text.contains(marker), "{} in {}", marker, text);
            }
        }
    }

    #[test]
    fn two_sandboxes_never_meet(objects in namespaces()) {
        let baseline = Baseline::new(objects.clone());
        for workload in baseline.workloads.keys() {
            let Ok(first) = fork("pr-3", workload, &baseline) else { continue };
            // The second one sees the first.
            let both = Baseline::new(objects.iter().cloned().chain(objects_of(&first)));
            let Ok(second) = fork("pr-4", workload, &both) else { continue };
            for (one, other) in [(&first, &second), (&second, &first)] {
                for selector in Baseline::new(objects_of(one)).selectors {
                    prop_assert!(!selector.terms.select(&pods(other)[0]), "{:?}", selector);
                }
            }
            // And is what it would be without it, byte for byte.
            prop_assert_eq!(Ok(text(&second)), fork("pr-4", workload, &baseline).map(|one| text(&one)).map_err(|_| ()));
        }
    }

    #[test]
    fn a_fork_of_a_fork_is_refused(objects in namespaces()) {
        let baseline = Baseline::new(objects.clone());
        for workload in baseline.workloads.keys() {
            let Ok(first) = fork("pr-1", workload, &baseline) else { continue };
            let both = Baseline::new(objects.iter().cloned().chain(objects_of(&first)));
            let own = Workload { kind: workload.kind.of_fork(), name: first.forks[0].name() };
            let error = fork("pr-2", &own, &both).err().unwrap_or_default();
            prop_assert!(matches!(error[..], [InvalidSandbox::Fork(_, InvalidFork::OfFork(_))]), "{:?}", error);
        }
    }

    /// Unless the ConfigMap is another one: what the one before owns, the garbage collector deletes.
    #[test]
    fn a_second_up_changes_nothing(objects in namespaces()) {
        let baseline = Baseline::new(objects.clone());
        for workload in baseline.workloads.keys() {
            let Ok(first) = fork("pr-1", workload, &baseline) else { continue };
            let both = Baseline::new(objects.iter().cloned().chain(owned(objects_of(&first), "1")));
            let second = fork("pr-1", workload, &both).map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
            let all = second.objects().count();
            for (uid, writes) in [(Some("1"), 0), (Some("2"), all), (None, all)] {
                let plan = SandboxPlan::new(&second, End::Ttl, &both, uid.and_then(|uid| config_map(&second, uid)));
                let plan = plan.map_err(|error| TestCaseError::fail(error.to_string()))?;
                prop_assert_eq!(plan.objects.steps.len(), writes, "{:?}: {}", uid, plan.objects);
            }
        }
    }
}

/// These objects, with the ConfigMap that has this uid as their owner.
fn owned(mut objects: Vec<DynamicObject>, uid: &str) -> Vec<DynamicObject> {
    let owner = OwnerReference { uid: uid.into(), ..OwnerReference::default() };
    for object in &mut objects {
        object.metadata.owner_references = Some(vec![owner.clone()]);
    }
    objects
}

fn config_map(sandbox: &Sandbox, uid: &str) -> Option<DynamicObject> {
    let map = serde_json::to_value(sandbox.config_map(true, End::Ttl).ok()?).ok()?;
    let mut map: DynamicObject = serde_json::from_value(map).ok()?;
    map.metadata.uid = Some(uid.into());
    Some(map)
}

pub(crate) fn fork(
    name: &str,
    workload: &Workload,
    baseline: &Baseline,
) -> Result<Sandbox, Vec<InvalidSandbox>> {
    let Ok(mut spec) = SandboxSpec::new(name) else { return Err(Vec::new()) };
    spec.forks.insert(workload.clone(), ForkSpec::default());
    Sandbox::new(&spec, "shop", baseline)
}

fn objects_of(sandbox: &Sandbox) -> Vec<DynamicObject> {
    let values = sandbox.objects().map(|object| serde_json::to_value(object).unwrap_or_default());
    values.filter_map(|value: Value| serde_json::from_value(value).ok()).collect()
}

/// The labels of each fork's Pods.
fn pods(sandbox: &Sandbox) -> Vec<Labels> {
    let objects = objects_of(sandbox);
    let forks = objects.iter().filter(|object| object.data.pointer("/spec/template").is_some());
    let pods: Vec<_> = forks.map(Baseline::pod_labels).collect();
    assert!(pods.iter().all(|labels| labels.contains_key(SANDBOX_LABEL)), "{pods:?}");
    pods
}

fn text(sandbox: &Sandbox) -> Vec<String> {
    let text = |object: &Object| serde_json::to_string(object).unwrap_or_default();
    sandbox.objects().map(text).collect()
}
