//! Pods whose requests no proxy sees.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use skycap_core::edge::{Edge, Workload};

use super::warning;
use crate::{
    diagnose::scope::Scope,
    names::{NAMESPACE, SETTINGS},
    observed::sidecars::has_proxy,
    problem::Problem,
};

/// The Pods without a sidecar, in namespaces where other Pods have one: one problem for each namespace.
/// A Pod that opts out of the injection (istio: `label.SidecarInject`) is not reported.
pub(super) fn without_sidecar(pods: &[Pod], scope: &Scope) -> Vec<Problem> {
    let mut namespaces: BTreeMap<String, (bool, Vec<String>)> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| is_running(pod)) {
        let namespace = pod.namespace().unwrap_or_default();
        let (has_sidecars, without) = namespaces.entry(namespace).or_default();
        if has_proxy(pod) {
            *has_sidecars = true;
        } else if !wants_none(pod) {
            without.push(pod.name_any());
        }
    }
    let judge = |(namespace, (has_sidecars, names)): (String, (bool, Vec<String>))| {
        let first = names.first().filter(|_| has_sidecars && scope.has(&namespace))?.clone();
        let more = match names.len() {
            1 => "this Pod has".to_owned(),
            2 => "this Pod and 1 more of the namespace have".into(),
            count => format!("this Pod and {} more of the namespace have", count - 1),
        };
        let text = format!(
            "{more} no sidecar, so requests from there go to the baseline, whatever key they carry; \
             create the Pod again to inject one, or set the label `{INJECT}: \"false\"`"
        );
        Some(warning(("v1", "Pod"), &(namespace, first), "", text))
    };
    namespaces.into_iter().filter_map(judge).collect()
}

/// A set of labels of the edge that no proxy has. If it is the only one, no proxy is an edge, and every
/// key from outside has an effect.
pub(super) fn edge_without_proxies(edge: &Edge, pods: &[Pod]) -> Vec<Problem> {
    let proxies = || pods.iter().filter(|pod| is_running(pod) && has_proxy(pod));
    let is_of = |workload: &Workload, pod: &Pod| {
        let alone = Edge { workloads: vec![workload.clone()], ..Edge::default() };
        alone.includes(false, |name| pod.labels().get(name).map(|value| value.clone().into()))
    };
    let explicit = edge.workloads.iter().filter(|workload| **workload != Workload::Gateways);
    let missing = explicit.filter(|workload| !proxies().any(|pod| is_of(workload, pod)));
    let problem = |workload: &Workload| {
        let text = format!(
            "`workloads`: no running proxy has the labels `{workload}`, so none is an edge by them, and \
             keys from outside have an effect where no other set applies; correct the labels, or \
             remove `workloads`: then all ingress gateways are the edge"
        );
        warning(("v1", "ConfigMap"), &(NAMESPACE.into(), SETTINGS.into()), "data.edge", text)
    };
    missing.map(problem).collect()
}

fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

/// Whether Istio injects nothing into the Pod: it says so, or it has the network of its node.
fn wants_none(pod: &Pod) -> bool {
    let says_no = |value: Option<&String>| value.is_some_and(|value| value == "false");
    says_no(pod.labels().get(INJECT))
        || says_no(pod.annotations().get(INJECT))
        || pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true))
}

/// The label, and in older Istios the annotation, by which a Pod refuses a sidecar.
const INJECT: &str = "sidecar.istio.io/inject";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Pod, Scope, edge_without_proxies, without_sidecar};

    fn pod(name: &str, fields: &Value) -> Pod {
        let mut pod = json!({
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"containers": [{"name": "app"}]},
            "status": {"phase": "Running"},
        });
        json_patch(&mut pod, fields);
        serde_json::from_value(pod).expect("a Pod")
    }

    fn json_patch(value: &mut Value, patch: &Value) {
        match patch {
            Value::Object(fields) => {
                for (name, field) in fields {
                    json_patch(&mut value[name.as_str()], field);
                }
            }
            other => *value = other.clone(),
        }
    }

    #[test]
    fn labels_of_the_edge_that_no_proxy_has_are_a_problem() {
        let gateway = json!({
            "metadata": {
                "labels": {"istio": "ingressgateway"},
                "annotations": {"sidecar.istio.io/status": "{}"},
            },
            "spec": {"containers": [{"name": "istio-proxy"}]},
        });
        let pods = [
            pod("gateway", &gateway),
            pod("other", &json!({"metadata": {"labels": {"app": "a"}}})),
        ];
        for (edge, problems) in [
            ("gateways", 0),
            ("istio=ingressgateway", 0),
            ("istio=ingressgateway app=a", 1),
            ("app=nothing accept:pr-1", 1),
        ] {
            let edge = edge.parse().expect("an edge");
            assert_eq!(edge_without_proxies(&edge, &pods).len(), problems, "{edge}");
        }
    }

    #[test]
    fn a_pod_that_was_born_before_the_injection_is_a_problem() {
        let injected = json!({
            "metadata": {"annotations": {"sidecar.istio.io/status": "{}"}},
            "spec": {"containers": [{"name": "app"}, {"name": "istio-proxy"}]},
        });
        let refuses = json!({"metadata": {"labels": {"sidecar.istio.io/inject": "false"}}});
        let pods = [
            pod("cart", &injected),
            pod("old", &json!({})),
            pod("older", &json!({})),
            pod("database", &refuses),
            pod("agent", &json!({"spec": {"hostNetwork": true}})),
            pod("done", &json!({"status": {"phase": "Succeeded"}})),
        ];
        let found = without_sidecar(&pods, &Scope::All);
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().contains("shop/old"), "{}", found[0]);
        assert!(found[0].text.contains("this Pod and 1 more"), "{}", found[0]);
        assert_eq!(without_sidecar(&pods[1..], &Scope::All), [], "a namespace without sidecars");
    }
}
