//! The cluster's Services, their endpoints, and the labels of its namespaces.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use k8s_openapi::{
    api::{
        core::v1::{Namespace, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::selector::NamespaceSelector;

/// The Services, endpoints and namespaces, as far as they are known.
///
/// Only what the table depends on is kept, so that an event that changes something else is seen to
/// change nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Each Service; `None` if Services are unknown.
    services: Option<HashMap<Name, ServiceFacts>>,
    /// The names of each Service's slices with a ready endpoint; `None` if endpoints are unknown.
    ready: Option<HashMap<Name, BTreeSet<String>>>,
    /// The labels of each namespace; `None` if namespaces are unknown.
    namespaces: Option<HashMap<String, BTreeMap<String, String>>>,
}

impl Cluster {
    /// The cluster with these Services and EndpointSlices. An empty list means that the objects of
    /// that kind are unknown.
    #[must_use]
    pub fn new(services: &[Service], slices: &[EndpointSlice]) -> Self {
        let mut cluster = Self {
            services: (!services.is_empty()).then(HashMap::new),
            ready: (!slices.is_empty()).then(HashMap::new),
            namespaces: None,
        };
        for service in services {
            cluster.put_service(service);
        }
        for slice in slices {
            cluster.put_slice(slice);
        }
        cluster
    }

    /// An empty cluster, to be filled from watches: an object that is not in it does not exist.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            services: Some(HashMap::new()),
            ready: Some(HashMap::new()),
            namespaces: Some(HashMap::new()),
        }
    }

    /// Whether Services are known.
    #[must_use]
    pub const fn knows_services(&self) -> bool {
        self.services.is_some()
    }

    /// The TCP ports of a Service; `None` if the Service does not exist or Services are unknown.
    #[must_use]
    pub fn ports(&self, namespace: &str, name: &str) -> Option<&BTreeSet<u16>> {
        self.service(namespace, name).map(|service| &service.ports)
    }

    /// A Service; `None` if it does not exist or Services are unknown.
    #[must_use]
    pub fn service(&self, namespace: &str, name: &str) -> Option<&ServiceFacts> {
        self.services.as_ref()?.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// Whether a Service has a ready endpoint. True if endpoints are unknown.
    #[must_use]
    pub fn is_ready(&self, namespace: &str, name: &str) -> bool {
        let service = (namespace.to_owned(), name.to_owned());
        self.ready.as_ref().is_none_or(|ready| ready.contains_key(&service))
    }

    /// Whether `selector` selects a namespace. True if namespaces are unknown.
    #[must_use]
    pub fn selects(&self, selector: &NamespaceSelector, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|namespaces| {
            selector.selects(namespaces.get(namespace).unwrap_or(&BTreeMap::new()))
        })
    }

    /// Adds or replaces a namespace; returns whether its labels have changed.
    pub fn put_namespace(&mut self, namespace: &Namespace) -> bool {
        let (_, name) = name_of(&namespace.metadata);
        let labels = namespace.metadata.labels.clone().unwrap_or_default();
        let namespaces = self.namespaces.get_or_insert_default();
        namespaces.insert(name, labels.clone()) != Some(labels)
    }

    /// Removes a namespace; returns whether it was there.
    pub fn remove_namespace(&mut self, namespace: &Namespace) -> bool {
        let (_, name) = name_of(&namespace.metadata);
        self.namespaces.as_mut().is_some_and(|namespaces| namespaces.remove(&name).is_some())
    }

    /// Removes all namespaces except these; returns whether that changes anything.
    pub fn retain_namespaces(&mut self, names: &HashSet<Name>) -> bool {
        let Some(namespaces) = &mut self.namespaces else { return false };
        let names: HashSet<&String> = names.iter().map(|(_, name)| name).collect();
        let before = namespaces.len();
        namespaces.retain(|name, _| names.contains(name));
        namespaces.len() != before
    }

    /// Adds or replaces a Service; returns whether that changes anything.
    pub fn put_service(&mut self, service: &Service) -> bool {
        let (name, facts) = (name_of(&service.metadata), ServiceFacts::of(service));
        let Some(services) = &mut self.services else { return false };
        services.insert(name, facts.clone()).as_ref() != Some(&facts)
    }

    /// Removes a Service; returns whether it was there.
    pub fn remove_service(&mut self, service: &Service) -> bool {
        let name = name_of(&service.metadata);
        self.services.as_mut().is_some_and(|services| services.remove(&name).is_some())
    }

    /// Removes all Services except these; returns whether that changes anything.
    pub fn retain_services(&mut self, names: &HashSet<Name>) -> bool {
        let Some(services) = &mut self.services else { return false };
        let before = services.len();
        services.retain(|name, _| names.contains(name));
        services.len() != before
    }

    /// Removes all EndpointSlices except these; returns whether a Service lost its last ready
    /// endpoint.
    pub fn retain_slices(&mut self, names: &HashSet<Name>) -> bool {
        let Some(ready) = &mut self.ready else { return false };
        let before = ready.len();
        ready.retain(|(namespace, _), slices| {
            slices.retain(|slice| names.contains(&(namespace.clone(), slice.clone())));
            !slices.is_empty()
        });
        ready.len() != before
    }

    /// Adds or replaces an EndpointSlice; returns whether its Service became ready or unready.
    pub fn put_slice(&mut self, slice: &EndpointSlice) -> bool {
        if !has_ready_endpoint(slice) {
            return self.remove_slice(slice);
        }
        let (Some(service), Some(ready)) = (service_of(slice), &mut self.ready) else {
            return false;
        };
        let slices = ready.entry(service).or_default();
        slices.insert(slice.metadata.name.clone().unwrap_or_default());
        slices.len() == 1
    }

    /// Removes an EndpointSlice; returns whether its Service lost its last ready endpoint.
    pub fn remove_slice(&mut self, slice: &EndpointSlice) -> bool {
        let (Some(service), Some(ready)) = (service_of(slice), &mut self.ready) else {
            return false;
        };
        let name = slice.metadata.name.as_deref().unwrap_or_default();
        let Some(slices) = ready.get_mut(&service) else { return false };
        slices.remove(name);
        slices.is_empty() && ready.remove(&service).is_some()
    }
}

/// What the table depends on of a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceFacts {
    /// Its TCP ports.
    pub ports: BTreeSet<u16>,
    /// Whether it has no ClusterIP (headless, or an ExternalName), so that no mesh routes by it.
    pub headless: bool,
    /// The host that it is another name of, if it is an ExternalName.
    pub external_name: Option<String>,
    /// The `appProtocol` of the ports that have one.
    pub app_protocols: BTreeMap<u16, String>,
    /// The value of Linkerd's annotation `config.linkerd.io/opaque-ports`.
    pub opaque_ports: Option<String>,
}

impl ServiceFacts {
    fn of(service: &Service) -> Self {
        let spec = service.spec.as_ref();
        let ports = spec.and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
        let tcp = ports.filter(|port| port.protocol.as_deref().is_none_or(|name| name == "TCP"));
        let tcp = tcp.filter_map(|port| Some((u16::try_from(port.port).ok()?, port)));
        let (mut numbers, mut app_protocols) = (BTreeSet::new(), BTreeMap::new());
        for (number, port) in tcp {
            numbers.insert(number);
            app_protocols.extend(port.app_protocol.clone().map(|protocol| (number, protocol)));
        }
        let is = |field: Option<&String>, value: &str| field.is_some_and(|field| field == value);
        let annotations = service.metadata.annotations.as_ref();
        Self {
            ports: numbers,
            headless: is(spec.and_then(|spec| spec.cluster_ip.as_ref()), "None")
                || is(spec.and_then(|spec| spec.type_.as_ref()), "ExternalName"),
            external_name: spec.and_then(|spec| spec.external_name.clone()),
            app_protocols,
            opaque_ports: annotations
                .and_then(|a| a.get("config.linkerd.io/opaque-ports").cloned()),
        }
    }
}

/// Namespace and name.
pub type Name = (String, String);

/// The name in `metadata`. As in kubectl, a manifest without a namespace is in `default`.
pub(crate) fn name_of(metadata: &ObjectMeta) -> Name {
    let namespace = metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    (namespace.into(), metadata.name.clone().unwrap_or_default())
}

fn service_of(slice: &EndpointSlice) -> Option<Name> {
    let name = slice.metadata.labels.as_ref()?.get("kubernetes.io/service-name")?;
    Some((name_of(&slice.metadata).0, name.clone()))
}

/// An endpoint without the condition `ready` is ready (EndpointConditions in discovery.k8s.io).
pub(crate) fn has_ready_endpoint(slice: &EndpointSlice) -> bool {
    slice.endpoints.iter().flatten().any(|endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    })
}

/// The namespace of a manifest that names none, as in kubectl.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";
