//! The permissions of developers who ask skycap about their sandboxes.

use serde_json::{Value, json};

use super::{
    Installation,
    rbac::{GATEWAY_API, GROUP, Role},
};
use crate::{
    names::{
        CANARY, CONTROLLER, DISPATCH_ROUTE, EDGE, LEASE, NAMESPACE, PLUGIN, READER, ROLLOUT,
        SETTINGS, STATUS,
    },
    table::meshes::MeshKind,
};

impl Installation {
    /// The reader's roles, and their bindings if there is a group of [readers](Self::readers).
    ///
    /// They read no ConfigMap but skycap's own: those of other namespaces may be confidential. So
    /// `check` shows the controller's report instead of a compile of its own.
    pub(super) fn reader(&self) -> Vec<Value> {
        let subject = |group| json!({"apiGroup": GROUP, "kind": "Group", "name": group});
        let subject = self.readers.as_ref().map(subject);
        let mut objects = Vec::new();
        let mut add = |namespace: Option<&str>, rules: &[Value]| {
            let role = Role { name: READER, namespace, rules };
            objects.push(role.object());
            objects.extend(subject.as_ref().map(|subject| role.binding(subject)));
        };
        add(None, &self.surroundings());
        add(Some(NAMESPACE), &published());
        if self.meshes.has(MeshKind::Istio) {
            add(Some(&self.mesh.root_namespace), &self.table());
        }
        objects
    }

    /// What `check` reads in the whole cluster.
    fn surroundings(&self) -> Vec<Value> {
        let list = |group: &str, resources: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": ["list"]});
        let mut rules =
            vec![list("", &["services"]), list(GATEWAY_API, &["grpcroutes", "httproutes"])];
        if self.meshes.has(MeshKind::Istio) {
            let resources = ["envoyfilters", "sidecars", "virtualservices"];
            rules.push(list("networking.istio.io", &resources));
        }
        if self.meshes.has(MeshKind::Linkerd) {
            rules.push(list("linkerd.io", &["serviceprofiles"]));
        }
        rules
    }

    /// The table in the mesh.
    fn table(&self) -> Vec<Value> {
        let get = |group: &str, resources: &[&str]| json!({"apiGroups": [group], "resources": resources, "resourceNames": [PLUGIN, CANARY, DISPATCH_ROUTE, EDGE], "verbs": ["get"]});
        vec![
            get("extensions.istio.io", &["trafficextensions", "wasmplugins"]),
            get("networking.istio.io", &["envoyfilters"]),
        ]
    }
}

/// What the controller publishes.
fn published() -> Vec<Value> {
    let get = |group: &str, resource: &str, names: &[&str]| json!({"apiGroups": [group], "resources": [resource], "resourceNames": names, "verbs": ["get"]});
    vec![
        get("", "configmaps", &[SETTINGS, STATUS, ROLLOUT]),
        get("coordination.k8s.io", "leases", &[LEASE]),
        get("apps", "deployments", &[CONTROLLER]),
    ]
}

/// The comment above the reader's roles.
pub(super) const ABOUT: &str = "What developers need for `list`, `explain`, `check` and `status`. The flag --readers \
                                binds a group to it.";
