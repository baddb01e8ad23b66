//! A route of another owner, reduced to what decides where requests go.

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
}

impl ForeignRoute {
    pub(super) fn of(object: &DynamicObject) -> Self {
        let name = name_of(object.meta());
        let spec = &object.data["spec"];
        let list = |field: &str| spec[field].as_array().into_iter().flatten();
        let created = object.metadata.creation_timestamp.as_ref();
        Self {
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
