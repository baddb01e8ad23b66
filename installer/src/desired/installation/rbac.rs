//! The controller's permissions: only those that it needs. A test removes each in turn.
//!
//! The controller reads ConfigMaps, namespaces, Services and EndpointSlices in the whole cluster
//! and creates Events and reviews of tokens. Beyond that it writes the status ConfigMap and the Lease, on Istio its
//! own objects by name, and on other meshes HTTPRoutes.

use serde_json::{Value, json};

use super::Installation;
use crate::{
    desired::istio::PluginKind,
    names::{CANARY, CONTROLLER, DISPATCH_ROUTE, EDGE, LEASE, NAMESPACE, PLUGIN, STATUS},
    objects::object,
    table::meshes::MeshKind,
};

impl Installation {
    /// The ServiceAccount, and its roles with their bindings.
    pub(super) fn rbac(&self) -> Vec<Value> {
        let account = object("v1", "ServiceAccount", Some(NAMESPACE), CONTROLLER, json!({}));
        let subject = json!({"kind": "ServiceAccount", "namespace": NAMESPACE, "name": CONTROLLER});
        let mut objects = vec![account];
        let mut add = |namespace: Option<&str>, rules: &[Value]| {
            let role = Role { name: CONTROLLER, namespace, rules };
            objects.extend([role.object(), role.binding(&subject)]);
        };
        add(None, &self.cluster_rules());
        add(Some(NAMESPACE), &own_rules());
        if self.meshes.has(MeshKind::Istio) {
            add(Some(&self.mesh.root_namespace), &self.istio_rules());
        }
        objects
    }

    /// In the whole cluster.
    fn cluster_rules(&self) -> Vec<Value> {
        let mut rules = vec![
            json!({"apiGroups": [""], "resources": ["configmaps", "namespaces", "services"], "verbs": READ}),
            // An admission policy limits this to sandboxes and groups that end.
            json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["delete"]}),
            json!({"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": READ}),
            json!({"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]}),
            // Whose token a client of the queues' rules shows.
            json!({"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}),
        ];
        if self.meshes.take_http_routes() {
            // The names of HTTPRoutes depend on the table, so `resourceNames` cannot restrict them.
            let verbs = ["list", "watch", "create", "patch", "delete"];
            rules.extend([
                json!({"apiGroups": [GATEWAY_API], "resources": ["httproutes"], "verbs": verbs}),
                json!({"apiGroups": [GATEWAY_API], "resources": ["grpcroutes"], "verbs": READ}),
            ]);
        }
        if self.meshes.has(MeshKind::Istio) {
            // A gateway's route with a policy keeps its requests.
            if !self.meshes.take_http_routes() {
                rules.push(json!({"apiGroups": [GATEWAY_API], "resources": ["grpcroutes", "httproutes"], "verbs": READ}));
            }
            rules.push(json!({"apiGroups": ["networking.istio.io"], "resources": ["virtualservices"], "verbs": READ}));
        }
        if self.meshes.has(MeshKind::Linkerd) {
            rules.push(json!({"apiGroups": ["linkerd.io"], "resources": ["serviceprofiles"], "verbs": READ}));
        }
        rules
    }

    /// In Istio's root namespace.
    fn istio_rules(&self) -> Vec<Value> {
        let plugin = match self.mesh.plugin {
            PluginKind::WasmPlugin => "wasmplugins",
            PluginKind::TrafficExtension => "trafficextensions",
        };
        let verbs = ["list", "watch", "patch", "delete"].as_slice();
        // The plugin is deleted only if the settings replace Istio by another mesh.
        let plugin_verbs = match self.meshes.take_http_routes() {
            true => verbs,
            false => &["list", "watch", "patch"],
        };
        let (extensions, networking) = ("extensions.istio.io", "networking.istio.io");
        vec![
            json!({"apiGroups": [extensions], "resources": [plugin], "verbs": ["create"]}),
            json!({"apiGroups": [extensions], "resources": [plugin], "resourceNames": [PLUGIN], "verbs": plugin_verbs}),
            json!({"apiGroups": [extensions], "resources": [plugin], "resourceNames": [CANARY], "verbs": verbs}),
            json!({"apiGroups": [networking], "resources": ["envoyfilters"], "verbs": ["create"]}),
            json!({"apiGroups": [networking], "resources": ["envoyfilters"], "resourceNames": [DISPATCH_ROUTE, EDGE, CANARY], "verbs": verbs}),
        ]
    }
}

/// In skycap's own namespace. `resourceNames` cannot restrict `create`, because the API server does
/// not know the name of the new object when it checks the permission.
fn own_rules() -> Vec<Value> {
    let coordination = "coordination.k8s.io";
    vec![
        json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}),
        json!({"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [STATUS], "verbs": ["patch"]}),
        json!({"apiGroups": [coordination], "resources": ["leases"], "verbs": ["create"]}),
        json!({"apiGroups": [coordination], "resources": ["leases"], "resourceNames": [LEASE], "verbs": ["get", "update"]}),
    ]
}

/// A Role, or a ClusterRole if it has no namespace.
pub(crate) struct Role<'a> {
    pub(crate) name: &'a str,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) rules: &'a [Value],
}

impl Role<'_> {
    pub(crate) fn object(&self) -> Value {
        object(VERSION, self.kind(), self.namespace, self.name, json!({"rules": self.rules}))
    }

    /// The binding of the role to a subject.
    pub(crate) fn binding(&self, subject: &Value) -> Value {
        let binding = json!({
            "roleRef": {"apiGroup": GROUP, "kind": self.kind(), "name": self.name},
            "subjects": [subject],
        });
        let kind = format!("{}Binding", self.kind());
        object(VERSION, &kind, self.namespace, self.name, binding)
    }

    const fn kind(&self) -> &'static str {
        if self.namespace.is_some() { "Role" } else { "ClusterRole" }
    }
}

/// The API group of roles.
pub(super) const GROUP: &str = "rbac.authorization.k8s.io";

const VERSION: &str = "rbac.authorization.k8s.io/v1";

/// The API group of HTTPRoutes.
pub(super) const GATEWAY_API: &str = "gateway.networking.k8s.io";

const READ: [&str; 2] = ["list", "watch"];
