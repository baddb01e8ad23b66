//! Services that a request cannot be routed from or to, by their ports and addresses.

use k8s_openapi::api::core::v1::{Service, ServicePort};
use skycap_core::config::Dispatch;

use super::warning;
use crate::{problem::Problem, table::cluster::Name};

/// Ports of a baseline Service whose requests the filter does not see or cannot dispatch.
pub(super) fn unroutable(name: &Name, service: &Service, dispatch: Dispatch) -> Vec<Problem> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    let judge = |port: &ServicePort| {
        let number = port.port;
        let text = match Protocol::of(port) {
            Protocol::Sniffed if dispatch == Dispatch::Authority => format!(
                "port {number} declares no protocol, but dispatch `authority` needs one; set \
                 `appProtocol: http`, or use dispatch `cluster-header`"
            ),
            Protocol::Opaque(other) => format!(
                "Istio treats port {number} as `{other}`, but the filter only sees HTTP; if the port \
                 serves HTTP, set `appProtocol: http`"
            ),
            Protocol::Http | Protocol::Sniffed | Protocol::NotTcp => return None,
        };
        Some(warning(SERVICE, name, "spec.ports", text))
    };
    ports.into_iter().flatten().filter_map(judge).collect()
}

/// A target without an address of its own.
pub(super) fn headless(name: &Name, service: &Service) -> Option<Problem> {
    let address = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref());
    let text = "the target is headless, so Envoy would connect to the baseline's address; give the \
                target a ClusterIP";
    (address == Some("None")).then(|| warning(SERVICE, name, "spec.clusterIP", text))
}

/// How Istio treats a port (istio: pkg/config/kube `ConvertProtocol`).
enum Protocol {
    /// Istio parses HTTP, whatever the version.
    Http,
    /// Istio looks at the first bytes of each connection.
    Sniffed,
    /// Istio forwards bytes.
    Opaque(String),
    /// The port is not a TCP port.
    NotTcp,
}

impl Protocol {
    fn of(port: &ServicePort) -> Self {
        if port.protocol.as_deref().is_some_and(|protocol| protocol != "TCP") {
            return Self::NotTcp;
        }
        let by_name = port.name.as_deref().map(|name| name.split('-').next().unwrap_or(name));
        let declared = port.app_protocol.as_deref().or(by_name).unwrap_or_default().to_lowercase();
        let declared = declared.trim_start_matches("kubernetes.io/");
        match declared {
            "http" | "http2" | "h2c" | "grpc" | "grpc-web" | "ws" => Self::Http,
            "tcp" | "tls" | "https" | "mongo" | "redis" | "mysql" | "udp" | "wss" => {
                Self::Opaque(declared.into())
            }
            _ => Self::Sniffed,
        }
    }
}

const SERVICE: (&str, &str) = ("v1", "Service");
