//! What is about a Service by its host: in Istio, DestinationRules and VirtualServices. A request that goes to
//! a fork's Service goes past them.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use serde_json::Value;

use super::baseline::sandbox_of;
use crate::objects::{Object, ObjectRef, reference_of};

/// An object with hosts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HostPolicy {
    object: ObjectRef,
    hosts: Vec<String>,
}

impl HostPolicy {
    /// The hosts of an object; `None` if it is not about hosts, or not about requests inside the mesh.
    pub(super) fn of(object: &DynamicObject) -> Option<Self> {
        let reference = reference_of(object);
        let spec = object.data.get("spec")?;
        if !reference.api_version.starts_with("networking.istio.io/")
            || sandbox_of(object).is_some()
        {
            return None;
        }
        let texts = |field: &str| {
            let list = spec.get(field).and_then(Value::as_array).into_iter().flatten();
            list.filter_map(|one| Some(one.as_str()?.to_owned())).collect::<Vec<_>>()
        };
        let gateways = texts("gateways");
        let hosts = match reference.kind.as_str() {
            "DestinationRule" => vec![spec.get("host")?.as_str()?.to_owned()],
            "VirtualService" if gateways.is_empty() || gateways.iter().any(|one| one == "mesh") => {
                texts("hosts")
            }
            _ => return None,
        };
        Some(Self { object: reference, hosts })
    }

    /// Whether one of its hosts is this Service alone. A wildcard may be about the fork as well.
    fn is_about(&self, service: &str, namespace: &str) -> bool {
        let own = self.object.namespace.as_deref().unwrap_or_default();
        self.hosts.iter().any(|host| {
            let (name, rest) = host.split_once('.').unwrap_or((host, own));
            let place = rest.split('.').next().unwrap_or_default();
            let is_in_cluster = rest == place || rest[place.len()..].starts_with(".svc");
            name == service && place == namespace && is_in_cluster
        })
    }
}

/// A note for each object about a Service that the sandbox replaces.
pub(super) fn notes(
    policies: &[HostPolicy],
    namespace: &str,
    services: &BTreeMap<String, Object>,
) -> Vec<String> {
    let mut notes = Vec::new();
    for (service, fork) in services {
        let fork = fork.reference().name;
        for policy in policies.iter().filter(|policy| policy.is_about(service, namespace)) {
            let object = &policy.object;
            notes.push(match object.kind.as_str() {
                "DestinationRule" => format!(
                    "{object} is about Service {service} and not about {fork}; add a copy with `host: \
                     {fork}.{namespace}.svc.cluster.local`, if requests to the fork need it"
                ),
                _ => format!(
                    "{object} routes Service {service}: its timeouts, retries, faults and headers have no \
                     effect on a request that goes to {fork}"
                ),
            });
        }
    }
    notes
}
