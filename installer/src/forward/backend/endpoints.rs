//! The ready Pods behind a port of a Service.

use anyhow::Context as _;
use k8s_openapi::api::{core::v1::ServicePort as Port, discovery::v1::EndpointSlice};

use crate::diagnose::request::ServicePort;

/// A port of a Pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PodPort {
    pub(super) pod: String,
    pub(super) port: u16,
}

/// The name of the Service's port; empty if it has none.
pub(super) fn port_name<'a>(service: &ServicePort, ports: &'a [Port]) -> anyhow::Result<&'a str> {
    let is_asked = |port: &&Port| port.port == i32::from(service.port.get());
    let found = ports.iter().find(is_asked).with_context(|| {
        let known: Vec<_> = ports.iter().map(|port| format!("`{}`", port.port)).collect();
        let known =
            if known.is_empty() { "a Service with ports".into() } else { known.join(" or ") };
        format!(
            "Service {}.{} has no port `{}`: expected {known}",
            service.name, service.namespace, service.port
        )
    })?;
    Ok(found.name.as_deref().unwrap_or_default())
}

/// The ready Pods behind a port, with the number that the port has in each of them.
pub(super) fn pods(slices: &[EndpointSlice], port_name: &str) -> Vec<PodPort> {
    let mut pods = Vec::new();
    for slice in slices {
        let ports = slice.ports.as_deref().unwrap_or_default();
        let is_named = |name: &Option<String>| name.as_deref().unwrap_or_default() == port_name;
        let port = ports.iter().find(|port| is_named(&port.name)).and_then(|port| port.port);
        let Some(port) = port.and_then(|port| u16::try_from(port).ok()) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let conditions = endpoint.conditions.as_ref();
            // No value means ready (Kubernetes API, `EndpointConditions`).
            let is_ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
            let target =
                endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
            let Some(pod) = target.and_then(|target| target.name.clone()).filter(|_| is_ready)
            else {
                continue;
            };
            pods.push(PodPort { pod, port });
        }
    }
    pods.sort();
    // A Pod with two addresses is in a slice of each family.
    pods.dedup();
    pods
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_named_port_has_in_each_pod_the_number_of_its_slice() {
        let endpoint = |pod: &str, ready: Option<bool>| json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready}, "targetRef": {"kind": "Pod", "name": pod}});
        let slice = |port: i32, endpoints: serde_json::Value| {
            let ports = json!([{"name": "metrics", "port": 9}, {"name": "http", "port": port}]);
            serde_json::from_value(json!({
                "metadata": {}, "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
            }))
            .expect("an EndpointSlice")
        };
        let external = json!({"addresses": ["192.0.2.1"]});
        let slices = [
            slice(
                8080,
                json!([endpoint("b", Some(true)), endpoint("down", Some(false)), external]),
            ),
            slice(8081, json!([endpoint("a", None)])),
            slice(8080, json!([endpoint("b", Some(true))])),
        ];
        let found = pods(&slices, "http");
        let found: Vec<_> =
            found.iter().map(|PodPort { pod, port }| (pod.as_str(), *port)).collect();
        assert_eq!(found, [("a", 8081), ("b", 8080)]);
        assert_eq!(pods(&slices, ""), []);
    }

    #[test]
    fn a_port_that_a_service_does_not_have_is_told_with_those_that_it_has() {
        let port = |port: i32, name: Option<&str>| Port {
            port,
            name: name.map(Into::into),
            ..<_>::default()
        };
        let asked = ServicePort::parse("cart.shop:80", "", "cluster.local").expect("a Service");
        let find = |ports: &[Port]| port_name(&asked, ports).map(str::to_owned);
        assert_eq!(find(&[port(81, Some("a")), port(80, Some("b"))]).ok().as_deref(), Some("b"));
        assert_eq!(find(&[port(80, None)]).ok().as_deref(), Some(""));
        let error = find(&[port(8080, None), port(9, None)]).map_err(|error| error.to_string());
        let expected = "Service cart.shop has no port `80`: expected `8080` or `9`";
        assert_eq!(error, Err(expected.to_owned()));
    }
}
