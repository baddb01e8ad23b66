//! Generated namespaces: workloads of all kinds, and all kinds of objects that select their Pods.

use kube::core::DynamicObject;
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

/// A namespace in which several workloads share labels, and several objects select each of them.
pub(crate) fn namespaces() -> impl Strategy<Value = Vec<DynamicObject>> {
    (vec(workload(), 1..5), vec(selecting(), 0..8)).prop_map(|(workloads, selecting)| {
        let mut objects: Vec<_> = workloads.into_iter().chain(selecting).collect();
        for (index, object) in objects.iter_mut().enumerate() {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            object["metadata"]["name"] = format!("{name}{index}").into();
        }
        objects.into_iter().filter_map(|object| serde_json::from_value(object).ok()).collect()
    })
}

/// A workload whose selector selects the Pods of its template, as the API demands.
fn workload() -> impl Strategy<Value = Value> {
    let kinds = vec![
        ("apps/v1", "Deployment"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("argoproj.io/v1alpha1", "Rollout"),
    ];
    (select(kinds), labels(), pod(), option::of(annotation())).prop_map(
        |((api_version, kind), labels, pod, annotation)| {
            let mut object = json!({
                "apiVersion": api_version,
                "kind": kind,
                "metadata": {
                    "name": "w",
                    "namespace": "shop",
                    "labels": {"app.kubernetes.io/instance": "argo", "helm.sh/chart": "shop-1"},
                    "annotations": {"argocd.argoproj.io/tracking-id": "x"},
                },
                "spec": {
                    "replicas": 3,
                    "selector": {"matchLabels": first_of(&labels)},
                    "template": {"metadata": {"labels": labels, "creationTimestamp": null}, "spec": pod},
                    "serviceName": "peers",
                },
            });
            if let Some(annotation) = annotation {
                object["metadata"]["annotations"]["skycap.dev/fork"] = annotation.into();
            }
            object
        },
    )
}

fn annotation() -> impl Strategy<Value = String> {
    select(vec![
        "env: {CRON: 'off'}",
        "patch: {spec: {template: {metadata: {labels: {tier: back}}}}}",
    ])
    .prop_map(str::to_owned)
}

/// A Pod with fields that no API knows yet.
fn pod() -> impl Strategy<Value = Value> {
    let container = (select(vec!["app", "web"]), any::<bool>()).prop_map(|(name, has_env)| {
        let mut container = json!({
            "name": name,
            "image": "registry/app:1",
            "ports": [{"name": "http", "containerPort": 8080}],
            "envFrom": [{"secretRef": {"name": "db"}}],
            "fieldOfTomorrow": {"deep": [1, 2, {"x": 1}]},
        });
        if has_env {
            container["env"] = json!([{"name": "SKYCAP_KEY", "valueFrom": {"fieldRef": {"x": 1}}}]);
        }
        container
    });
    (container, any::<bool>()).prop_map(|(container, has_more)| {
        let mut pod = json!({"containers": [container], "serviceAccountName": "cart", "future": 1});
        if has_more {
            pod["initContainers"] =
                json!([{"name": "proxy", "image": "p:1", "restartPolicy": "Always"}]);
            pod["volumes"] = json!([{"name": "token", "projected": {"sources": [{"x": {}}]}}]);
        }
        pod
    })
}

/// A Service, PodDisruptionBudget, ReplicaSet, policy or ServiceEntry.
fn selecting() -> impl Strategy<Value = Value> {
    let object = |api_version: &str, kind: &str, spec: Value| {
        json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"name": "s", "namespace": "shop", "annotations": {"dns": "cart.example.com"}},
            "spec": spec,
        })
    };
    let service = (labels(), select(vec![json!("NodePort"), json!("ClusterIP")])).prop_map(
        move |(labels, kind)| {
            let ports =
                json!([{"name": "http", "port": 80, "targetPort": "http", "nodePort": 30_001}]);
            object(
                "v1",
                "Service",
                json!({"type": kind, "selector": first_of(&labels), "ports": ports}),
            )
        },
    );
    let budget = selector().prop_map(move |selector| {
        object("policy/v1", "PodDisruptionBudget", json!({"minAvailable": 1, "selector": selector}))
    });
    let replica_set = selector().prop_map(move |selector| {
        object("apps/v1", "ReplicaSet", json!({"selector": selector, "template": {}}))
    });
    let policy = selector().prop_map(move |selector| {
        object("networking.k8s.io/v1", "NetworkPolicy", json!({"podSelector": selector}))
    });
    let entry = labels().prop_map(move |labels| {
        let spec = json!({"workloadSelector": {"labels": first_of(&labels)}});
        object("networking.istio.io/v1", "ServiceEntry", spec)
    });
    prop_oneof![3 => service, 2 => budget, 1 => replica_set, 1 => policy, 1 => entry]
}

fn selector() -> impl Strategy<Value = Value> {
    let expression =
        (select(LABELS.to_vec()), select(vec!["In", "NotIn", "Exists", "DoesNotExist"])).prop_map(
            |((key, values), operator)| match operator {
                "In" | "NotIn" => json!({"key": key, "operator": operator, "values": values}),
                operator => json!({"key": key, "operator": operator}),
            },
        );
    (option::of(labels()), vec(expression, 0..3)).prop_map(|(labels, expressions)| {
        let labels = labels.map(|labels| first_of(&labels)).unwrap_or_else(|| json!({}));
        json!({"matchLabels": labels, "matchExpressions": expressions})
    })
}

/// One to three labels out of few, so that most objects have something in common.
fn labels() -> impl Strategy<Value = Value> {
    let label = select(LABELS.to_vec()).prop_flat_map(|(key, values)| (Just(key), select(values)));
    vec(label, 1..4).prop_map(|labels| {
        Value::Object(labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    })
}

/// The first label alone, so that most selectors select more than one workload.
fn first_of(labels: &Value) -> Value {
    let first = labels.as_object().into_iter().flatten().take(1);
    Value::Object(first.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// Labels with their values. `app` has one that is what a fork in sandbox `pr-1` would get.
const LABELS: [(&str, &[&str]); 3] =
    [("app", &["cart", "cart-pr-1", ""]), ("tier", &["back", "front"]), ("track", &["stable"])];
