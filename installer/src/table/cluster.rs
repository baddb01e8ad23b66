//! What is known of the cluster's Services and their endpoints.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use k8s_openapi::{
    api::{
        core::v1::{Namespace, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::selector::NamespaceSelector;

/// Services and endpoints, or that nothing is known of them. Of each no more is kept than the
/// table depends on, so that an event that changes nothing else is seen to change nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Each Service; `None` when nothing is known of Services.
    services: Option<HashMap<Name, ServiceFacts>>,
    /// For each Service its slices with a ready endpoint; `None` when nothing is known of them.
    ready: Option<HashMap<Name, BTreeSet<String>>>,
    /// The labels of each namespace; `None` when nothing is known of namespaces.
    namespaces: Option<HashMap<String, BTreeMap<String, String>>>,
}

/// Namespace and name.
pub type Name = (String, String);

/// What is kept of a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceFacts {
    /// Its TCP ports.
    pub ports: BTreeSet<u16>,
    /// Whether it has no ClusterIP (or is a mere name), so that no mesh routes by it.
    pub headless: bool,
    /// The `appProtocol` of the ports that have one.
    pub app_protocols: BTreeMap<u16, String>,
    /// Linkerd's annotation `config.linkerd.io/opaque-ports`, as it stands.
    pub opaque_ports: Option<String>,
}

impl Cluster {
    /// Indexes Services and EndpointSlices. Where there is none of a kind, all is well with it.
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

    /// A cluster that is watched: what is not in it does not exist.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            services: Some(HashMap::new()),
            ready: Some(HashMap::new()),
            namespaces: Some(HashMap::new()),
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
        self.service(namespace, name).map(|service| &service.ports)
    }

    /// What is known of a Service, or `None` when there is no such Service.
    #[must_use]
    pub fn service(&self, namespace: &str, name: &str) -> Option<&ServiceFacts> {
        self.services.as_ref()?.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// Whether a Service has a ready endpoint, as far as is known.
    #[must_use]
    pub fn is_ready(&self, namespace: &str, name: &str) -> bool {
        let service = (namespace.to_owned(), name.to_owned());
        self.ready.as_ref().is_none_or(|ready| ready.contains_key(&service))
    }

    /// Whether a namespace is selected, as far as is known.
    #[must_use]
    pub fn selects(&self, selector: &NamespaceSelector, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|namespaces| {
            selector.selects(namespaces.get(namespace).unwrap_or(&BTreeMap::new()))
        })
    }

    /// Takes a namespace as it is now; gives whether its labels have changed.
    pub fn put_namespace(&mut self, namespace: &Namespace) -> bool {
        let (_, name) = name_of(&namespace.metadata);
        let labels = namespace.metadata.labels.clone().unwrap_or_default();
        let namespaces = self.namespaces.get_or_insert_default();
        namespaces.insert(name, labels.clone()) != Some(labels)
    }

    /// Forgets a namespace; gives whether it was there.
    pub fn remove_namespace(&mut self, namespace: &Namespace) -> bool {
        let (_, name) = name_of(&namespace.metadata);
        self.namespaces.as_mut().is_some_and(|namespaces| namespaces.remove(&name).is_some())
    }

    /// Forgets all namespaces but these; gives whether that changes anything.
    pub fn retain_namespaces(&mut self, names: &HashSet<Name>) -> bool {
        let Some(namespaces) = &mut self.namespaces else { return false };
        let names: HashSet<&String> = names.iter().map(|(_, name)| name).collect();
        let before = namespaces.len();
        namespaces.retain(|name, _| names.contains(name));
        namespaces.len() != before
    }

    /// Takes a Service as it is now; gives whether that changes anything.
    pub fn put_service(&mut self, service: &Service) -> bool {
        let (name, facts) = (name_of(&service.metadata), ServiceFacts::of(service));
        let Some(services) = &mut self.services else { return false };
        services.insert(name, facts.clone()).as_ref() != Some(&facts)
    }

    /// Forgets a Service; gives whether it was there.
    pub fn remove_service(&mut self, service: &Service) -> bool {
        let name = name_of(&service.metadata);
        self.services.as_mut().is_some_and(|services| services.remove(&name).is_some())
    }

    /// Forgets all Services but these; gives whether that changes anything.
    pub fn retain_services(&mut self, names: &HashSet<Name>) -> bool {
        let Some(services) = &mut self.services else { return false };
        let before = services.len();
        services.retain(|name, _| names.contains(name));
        services.len() != before
    }

    /// Forgets all EndpointSlices but these; gives whether a Service lost its last ready endpoint.
    pub fn retain_slices(&mut self, names: &HashSet<Name>) -> bool {
        let Some(ready) = &mut self.ready else { return false };
        let before = ready.len();
        ready.retain(|(namespace, _), slices| {
            slices.retain(|slice| names.contains(&(namespace.clone(), slice.clone())));
            !slices.is_empty()
        });
        ready.len() != before
    }

    /// Takes an EndpointSlice as it is now; gives whether its Service got or lost readiness.
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

    /// Forgets an EndpointSlice; gives whether its Service lost its last ready endpoint.
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

/// Whose `metadata` it is; a manifest without a namespace is of `default`, as with kubectl.
pub(crate) fn name_of(metadata: &ObjectMeta) -> Name {
    let namespace = metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    (namespace.into(), metadata.name.clone().unwrap_or_default())
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
            app_protocols,
            opaque_ports: annotations
                .and_then(|a| a.get("config.linkerd.io/opaque-ports").cloned()),
        }
    }
}

fn service_of(slice: &EndpointSlice) -> Option<Name> {
    let name = slice.metadata.labels.as_ref()?.get("kubernetes.io/service-name")?;
    Some((name_of(&slice.metadata).0, name.clone()))
}

/// An endpoint that does not say whether it is ready is (EndpointConditions in discovery.k8s.io).
fn has_ready_endpoint(slice: &EndpointSlice) -> bool {
    slice.endpoints.iter().flatten().any(|endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    })
}

/// Where a manifest without a namespace goes, as with kubectl.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";
