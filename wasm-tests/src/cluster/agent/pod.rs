//! The Pod that an agent takes itself to be in.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

/// A Pod with a sidecar, or of a gateway.
#[derive(Debug, Clone)]
pub struct Pod {
    /// The workload's name, which is also the value of its label `app`.
    pub workload: String,
    /// The namespace.
    pub namespace: String,
    /// `sidecar` or `router`.
    pub role: &'static str,
    /// Further labels.
    pub labels: Vec<(String, String)>,
}

impl Pod {
    /// A workload with a sidecar in namespace `shop`.
    #[must_use]
    pub fn sidecar(workload: &str) -> Self {
        Self {
            workload: workload.into(),
            namespace: "shop".into(),
            role: "sidecar",
            labels: Vec::new(),
        }
    }

    /// Istio's ingress gateway.
    #[must_use]
    pub fn gateway() -> Self {
        Self {
            workload: "istio-ingressgateway".into(),
            namespace: "istio-system".into(),
            role: "router",
            labels: vec![("istio".into(), "ingressgateway".into())],
        }
    }

    /// The `Sidecar` object that puts this workload's outbound listeners on `address`. `outbound` is
    /// its `outboundTrafficPolicy`, null for none.
    #[must_use]
    pub fn outbound(&self, address: Ipv4Addr, outbound: &Value) -> Value {
        let mut spec = json!({
            "workloadSelector": {"labels": {"app": self.workload}},
            "egress": [{"bind": address, "hosts": ["*/*"]}],
        });
        if !outbound.is_null() {
            spec["outboundTrafficPolicy"] = outbound.clone();
        }
        json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "Sidecar",
            "metadata": {"name": self.workload, "namespace": self.namespace},
            "spec": spec,
        })
    }

    /// The manifest of the Pod.
    pub(super) fn manifest(&self) -> Value {
        let containers = ["app", "istio-proxy"].map(|name| json!({"name": name, "image": name}));
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name(), "namespace": self.namespace, "labels": self.labels()},
            "spec": {"containers": containers},
        })
    }

    pub(super) fn name(&self) -> String {
        format!("{}-1", self.workload)
    }

    pub(super) fn labels(&self) -> serde_json::Map<String, Value> {
        let app = ("app".to_owned(), self.workload.clone());
        let labels = self.labels.iter().cloned().chain([app]);
        labels.map(|(name, value)| (name, value.into())).collect()
    }
}
