//! CoreDNS, as a Deployment and a Service of the name and address that the kubelet tells to Pods.

use serde_json::{Value, json};

use super::{DNS, Image};
use crate::cluster::Cluster;

impl Cluster {
    /// Applies CoreDNS. It is ready when its Pod is.
    pub(super) async fn start_dns(&self) -> anyhow::Result<()> {
        let image = Image::new("coredns", 0)
            .program("/coredns", &self.parts.kubernetes.coredns, None)?
            .with("Entrypoint", json!(["/coredns"]));
        self.import_image("coredns", &image).await?;
        for manifest in manifests() {
            self.apply(&manifest).await?;
        }
        Ok(())
    }
}

fn manifests() -> Vec<Value> {
    let name = json!({"name": "coredns", "namespace": "kube-system"});
    let labels = json!({"k8s-app": "kube-dns"});
    let rules = json!([
        {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]);
    let role = "rbac.authorization.k8s.io";
    let port =
        |protocol: &str| json!({"name": protocol.to_lowercase(), "port": 53, "protocol": protocol});
    vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": name}),
        json!({"apiVersion": format!("{role}/v1"), "kind": "ClusterRole", "metadata": {"name": "coredns"}, "rules": rules}),
        json!({
            "apiVersion": format!("{role}/v1"),
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "coredns"},
            "roleRef": {"apiGroup": role, "kind": "ClusterRole", "name": "coredns"},
            "subjects": [{"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}],
        }),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": name, "data": {"Corefile": COREFILE}}),
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system"},
            "spec": {"clusterIP": DNS.to_string(), "selector": labels, "ports": [port("UDP"), port("TCP")]},
        }),
        deployment(&labels),
    ]
}

fn deployment(labels: &Value) -> Value {
    let container = json!({
        "name": "coredns",
        "image": Image::reference("coredns"),
        "args": ["-conf", "/etc/coredns/Corefile"],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
    });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "coredns", "namespace": "kube-system"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": "coredns",
                    "dnsPolicy": "Default",
                    "containers": [container],
                    "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
                },
            },
        },
    })
}

/// Short times to live: a test's Service is to be found as soon as it exists.
const COREFILE: &str = ".:53 {
    errors
    ready
    kubernetes cluster.local in-addr.arpa {
        ttl 1
    }
    loadbalance
}
";
