//! What is known of the cluster's Services and their endpoints.

use std::collections::{BTreeSet, HashMap, HashSet};

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};

use crate::manifests::DEFAULT_NAMESPACE;

/// Services and endpoints, or that nothing is known of them.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    /// The TCP ports of each Service, by namespace and name; `None` when none was given at all.
    services: Option<HashMap<(String, String), BTreeSet<u16>>>,
    /// The Services with a ready endpoint; `None` when no EndpointSlice was given at all.
    ready: Option<HashSet<(String, String)>>,
}

impl Cluster {
    /// Indexes Services and EndpointSlices. Where there is none of a kind, all is well with it.
    #[must_use]
    pub fn new(services: &[Service], slices: &[EndpointSlice]) -> Self {
        let ready = slices.iter().filter(|slice| has_ready_endpoint(slice)).filter_map(service_of);
        Self {
            services: (!services.is_empty()).then(|| services.iter().map(ports_of).collect()),
            ready: (!slices.is_empty()).then(|| ready.collect()),
        }
    }

    /// Whether anything is known of Services.
    #[must_use]
    pub const fn knows_services(&self) -> bool {
        self.services.is_some()
    }

    /// The TCP ports of a Service, or `None` when there is no such Service.
    #[must_use]
    pub fn ports(&self, namespace: &str, name: &str) -> Option<&BTreeSet<u16>> {
        self.services.as_ref()?.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// Whether a Service has a ready endpoint, as far as is known.
    #[must_use]
    pub fn is_ready(&self, namespace: &str, name: &str) -> bool {
        let service = (namespace.to_owned(), name.to_owned());
        self.ready.as_ref().is_none_or(|ready| ready.contains(&service))
    }
}

fn ports_of(service: &Service) -> ((String, String), BTreeSet<u16>) {
    let spec = service.spec.as_ref();
    let ports = spec.and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    let tcp = ports.filter(|port| port.protocol.as_deref().is_none_or(|name| name == "TCP"));
    let metadata = &service.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    let name = metadata.name.clone().unwrap_or_default();
    ((namespace.into(), name), tcp.filter_map(|port| u16::try_from(port.port).ok()).collect())
}

fn service_of(slice: &EndpointSlice) -> Option<(String, String)> {
    let name = slice.metadata.labels.as_ref()?.get("kubernetes.io/service-name")?;
    let namespace = slice.metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    Some((namespace.into(), name.clone()))
}

/// An endpoint that does not say whether it is ready is (EndpointConditions in discovery.k8s.io).
fn has_ready_endpoint(slice: &EndpointSlice) -> bool {
    slice.endpoints.iter().flatten().any(|endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    })
}
