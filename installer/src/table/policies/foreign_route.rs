//! A route of another owner, reduced to what decides where requests go.

use std::collections::BTreeSet;

use kube::{Resource as _, core::DynamicObject};
use serde_json::{Map, Value};
use skycap_core::config::ServiceName;

use crate::table::cluster::{Name, name_of};

/// A route that skycap does not own: the fields that decide where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForeignRoute {
    pub(crate) name: Name,
    /// Whether it has no creation time, as in a file; such a route counts as the newest. Then the
    /// creation time in RFC 3339 as the API server writes it, which sorts by time.
    pub(super) created: (bool, String),
    parents: Vec<ParentRef>,
    pub(crate) hostnames: Vec<String>,
    pub(crate) rules: Vec<Map<String, Value>>,
    /// If it is for a Gateway: the Services to which its rules with filters lead.
    pub(super) guarded: BTreeSet<ServiceName>,
}

impl ForeignRoute {
    pub(super) fn of(object: &DynamicObject) -> Self {
        let name = name_of(object.meta());
        let spec = &object.data["spec"];
        let list = |field: &str| spec[field].as_array().into_iter().flatten();
        let created = object.metadata.creation_timestamp.as_ref();
        // Other parents than Services are Gateways, and what passes on to one, such as a ListenerSet.
        let is_at_gateway =
            list("parentRefs").any(|parent| ParentRef::of(parent, &name.0).is_none());
        let filtered = list("rules").filter(|_| is_at_gateway).flat_map(filtered_backends);
        Self {
            guarded: filtered.filter_map(|backend| backend_service(backend, &name.0)).collect(),
            parents: list("parentRefs")
                .filter_map(|parent| ParentRef::of(parent, &name.0))
                .collect(),
            hostnames: list("hostnames").filter_map(Value::as_str).map(str::to_owned).collect(),
            rules: list("rules").filter_map(Value::as_object).cloned().collect(),
            created: (
                created.is_none(),
                created.map(|time| time.0.to_string()).unwrap_or_default(),
            ),
            name,
        }
    }

    /// Whether it names that port of a Service, instead of all ports.
    pub(crate) fn names_port(&self, service: &ServiceName, port: u16) -> bool {
        let port = Some(u64::from(port));
        self.parents.iter().any(|parent| parent.is_service(service) && parent.port == port)
    }

    /// Whether it applies to that port of a Service.
    pub(super) fn is_for(&self, service: &ServiceName, port: u16) -> bool {
        let has = |parent: &ParentRef| parent.port.is_none_or(|other| other == u64::from(port));
        self.parents.iter().any(|parent| parent.is_service(service) && has(parent))
    }
}

/// The backends to which a rule leads with a filter: its own, or one of the backend.
fn filtered_backends(rule: &Value) -> impl Iterator<Item = &Value> {
    let has_filters = |of: &Value| of["filters"].as_array().is_some_and(|list| !list.is_empty());
    let backends = rule["backendRefs"].as_array().into_iter().flatten();
    backends.filter(move |backend| has_filters(rule) || has_filters(backend))
}

/// The Service of a backend (Gateway API, `BackendObjectReference`: by default the kind is Service). Istio
/// takes a `Hostname` too, as in `cart.shop.svc.cluster.local` (istio: `gateway/conversion`).
fn backend_service(backend: &Value, namespace: &str) -> Option<ServiceName> {
    let text = |field: &str| backend[field].as_str();
    let name = text("name")?;
    match text("kind").unwrap_or("Service") {
        "Service" => ServiceName::new(name, text("namespace").unwrap_or(namespace)).ok(),
        "Hostname" => {
            let (name, namespace) = name.split_once(".svc.")?.0.split_once('.')?;
            ServiceName::new(name, namespace).ok()
        }
        _ => None,
    }
}

/// A Service that a route applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ParentRef {
    service: Name,
    /// `None` for every port.
    port: Option<u64>,
}

impl ParentRef {
    /// `None` if the parent is not a Service. Its group is `""`; Linkerd accepts `core` too
    /// (linkerd2: `is_service`).
    fn of(parent: &Value, namespace: &str) -> Option<Self> {
        let text = |field: &str| parent[field].as_str();
        let is_service = text("kind") == Some("Service")
            && text("group")
                .is_some_and(|group| group.is_empty() || group.eq_ignore_ascii_case("core"));
        let namespace = text("namespace").unwrap_or(namespace);
        is_service.then(|| Self {
            service: (namespace.to_owned(), text("name").unwrap_or_default().to_owned()),
            port: parent["port"].as_u64(),
        })
    }

    fn is_service(&self, service: &ServiceName) -> bool {
        let (namespace, name) = &self.service;
        (name.as_str(), namespace.as_str()) == (service.name(), service.namespace())
    }
}

#[cfg(test)]
mod tests {
    use kube::core::DynamicObject;
    use serde_json::{Value, json};
    use skycap_core::config::ServiceName;

    use super::ForeignRoute;

    #[test]
    fn services_behind_a_filter_at_a_gateway_are_guarded() {
        let filter = json!([{"type": "RequestHeaderModifier"}]);
        let rules = json!([
            {"filters": filter, "backendRefs": [{"name": "cart"}, {"name": "login", "namespace": "iam"}]},
            {"filters": [], "backendRefs": [{"name": "quick"}]},
            {"backendRefs": [{"name": "assets", "filters": filter}, {"name": "plain"}]},
            {"filters": filter, "backendRefs": [
                {"name": "bucket", "kind": "Backend"},
                {"name": "api.shop.svc.cluster.local", "kind": "Hostname"},
            ]},
            {"filters": [{"type": "RequestRedirect"}]},
        ]);
        let service = json!({"name": "cart", "kind": "Service", "group": ""});
        let gateway = json!({"name": "entry"});
        assert_eq!(
            guarded(&[&service, &gateway], &rules),
            ["api.shop", "assets.shop", "cart.shop", "login.iam"]
        );
        assert_eq!(guarded(&[&service], &rules), [""; 0]);
    }

    fn guarded(parents: &[&Value], rules: &Value) -> Vec<String> {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "entry", "namespace": "shop"},
            "spec": {"parentRefs": parents, "rules": rules},
        }))
        .expect("an HTTPRoute");
        let guarded = ForeignRoute::of(&object).guarded;
        guarded.iter().map(ServiceName::as_str).map(str::to_owned).collect()
    }
}
