//! A namespace with what each right is needed for.

use serde_json::{Value, json};
use skycap::environment::labels::{FORK_LABEL, SANDBOX_LABEL};
use skycap_tests::fixture::manifests::endpoints;

/// Two workloads with their Services, a resource, and two Pods without a kubelet.
pub(crate) fn shop() -> Vec<Value> {
    let of_shop = |api_version: &str, kind: &str, name: &str, labels: Value, spec: Value| {
        let annotations = json!({"sidecar.istio.io/status": "{}"});
        let metadata = json!({"name": name, "namespace": "shop", "labels": labels, "annotations": annotations});
        json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})
    };
    let container = |name: &str| json!({"containers": [{"name": name, "image": name}]});
    let fork = json!({SANDBOX_LABEL: "pr-9", FORK_LABEL: "deployment.cart"});
    let mut account = of_shop("v1", "ServiceAccount", "default", json!({}), Value::Null);
    account.as_object_mut().map(|account| account.remove("spec"));
    let mut cart = endpoints("cart-pr-9", true);
    cart["endpoints"][0]["targetRef"] =
        json!({"kind": "Pod", "namespace": "shop", "name": "crashed"});
    let mut objects = vec![
        cache(),
        cart,
        endpoints("db-pr-9", true),
        // Pods need it, and the controller that makes it does not run here.
        account,
        of_shop("v1", "Pod", "sidecar", json!({}), container("istio-proxy")),
        of_shop("v1", "Pod", "crashed", fork, container("cart")),
    ];
    for (kind, name) in [("Deployment", "cart"), ("StatefulSet", "db")] {
        let spec = json!({"selector": {"app": name}, "ports": [{"name": "http", "port": 80}]});
        objects.extend([workload(kind, name), of_shop("v1", "Service", name, json!({}), spec)]);
    }
    objects
}

/// A resource with a password.
pub(crate) fn cache() -> Value {
    let manifest = "apiVersion: apps/v1
kind: Deployment
metadata: {name: '${name}'}
spec:
  selector: {matchLabels: {app: '${name}'}}
  template:
    metadata: {labels: {app: '${name}'}}
    spec: {containers: [{name: cache, image: 'cache:1', args: ['${random.password}']}]}
";
    let data = json!({"manifest": manifest, "ready": "deployment/${name}"});
    let labels = json!({"skycap.dev/kind": "resource"});
    let metadata = json!({"name": "cache", "namespace": "shop", "labels": labels});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
}

/// What a kubelet says about the Pods: one has an address for its sidecar, and the other one crashes.
pub(crate) fn pods() -> [(&'static str, Value); 2] {
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let cart = json!({"name": "cart", "image": "cart", "imageID": "", "ready": false, "restartCount": 3, "state": waiting});
    [
        (
            "sidecar",
            json!({"phase": "Running", "podIP": "10.77.0.9", "podIPs": [{"ip": "10.77.0.9"}]}),
        ),
        ("crashed", json!({"phase": "Running", "containerStatuses": [cart]})),
    ]
}

/// A workload with one container.
pub(crate) fn workload(kind: &str, name: &str) -> Value {
    let labels = json!({"app": name});
    let mut workload = json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": name, "image": format!("{name}:old")}]},
            },
        },
    });
    if kind == "StatefulSet" {
        workload["spec"]["serviceName"] = name.into();
    }
    workload
}
