//! The rights of an account that makes sandboxes in one namespace, such as that of a CI job: what `up`,
//! `down`, `wait` and `test` ask the API server for, and nothing else. A test takes each right away in
//! turn.
//!
//! A Secret can be created with them, for a password of a resource, and none can be read or changed: for
//! that, `patch` and `delete` would do, whose answers show the Secret. But who may create a Deployment in a
//! namespace can mount its Secrets into a Pod: Kubernetes has no right to create one without the other.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::baseline::{IN_ROOT, OPTIONAL, REQUIRED};
use crate::{
    desired::installation::Role,
    names::{CONTROLLER, NAMESPACE, PLUGIN, RESOURCES, SANDBOXES, SETTINGS, STATUS, TESTS},
    objects::{object, resource},
    table::{
        meshes::{MeshKind, Meshes},
        policies::PolicyKind,
    },
};

/// The roles for the sandboxes of `namespace`, a ServiceAccount in it, and their bindings. `istio` is
/// Istio's root namespace, if Istio is among the meshes.
#[must_use]
pub fn sandboxes(namespace: &str, meshes: &Meshes, istio: &str) -> Vec<Value> {
    let account = object("v1", "ServiceAccount", Some(namespace), SANDBOXES, json!({}));
    let subject = json!({"kind": "ServiceAccount", "namespace": namespace, "name": SANDBOXES});
    let mut objects = vec![account];
    let mut add = |place: &str, name: &str, rules: &[Value]| {
        let role = Role { name, namespace: Some(place), rules };
        objects.extend([role.object(), role.binding(&subject)]);
    };
    add(namespace, SANDBOXES, &in_namespace(meshes));
    // Of a name of its own, because another namespace's account has such a role too.
    let elsewhere = format!("{SANDBOXES}-{namespace}");
    let names = [SETTINGS, STATUS];
    add(
        NAMESPACE,
        &elsewhere,
        &[
            json!({"apiGroups": [""], "resources": ["configmaps"], "resourceNames": names, "verbs": ["get"]}),
        ],
    );
    if meshes.has(MeshKind::Istio) {
        let plugins = ["trafficextensions", "wasmplugins"];
        let mut rules = vec![
            json!({"apiGroups": ["extensions.istio.io"], "resources": plugins, "resourceNames": [PLUGIN], "verbs": ["get"]}),
        ];
        // The policies of the whole mesh, for notes on those that do not select a fork.
        rules.extend(lists(IN_ROOT.iter().copied()));
        add(istio, &elsewhere, &rules);
    }
    objects
}

/// What the account needs besides for `test --forward`: a role, and its binding. It is apart, because it
/// opens connections to all Pods of the namespace.
#[must_use]
pub fn tests(namespace: &str) -> Vec<Value> {
    let subject = json!({"kind": "ServiceAccount", "namespace": namespace, "name": SANDBOXES});
    let rules = [
        json!({"apiGroups": [""], "resources": ["services"], "verbs": ["get"]}),
        json!({"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list"]}),
        // The API server asks for `get` to begin a WebSocket, and for `create` to forward (1.35).
        json!({"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get", "create"]}),
    ];
    let role = Role { name: TESTS, namespace: Some(namespace), rules: &rules };
    vec![role.object(), role.binding(&subject)]
}

/// What the controller needs to run the Jobs of `delete`: a role, and its binding. Whoever may write a
/// ConfigMap in the namespace can then have a Job run in it, with any of its ServiceAccounts.
///
/// A second role is for the account that makes sandboxes, which asks whether there is the first one.
#[must_use]
pub fn resources(namespace: &str) -> Vec<Value> {
    let account = |namespace: &str, name: &str| json!({"kind": "ServiceAccount", "namespace": namespace, "name": name});
    let controller = [
        json!({"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "create"]}),
        // An admission policy limits this to the finalizers of resources.
        json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"]}),
    ];
    let asking = [
        json!({"apiGroups": ["authorization.k8s.io"], "resources": ["localsubjectaccessreviews"], "verbs": ["create"]}),
    ];
    let role = Role { name: RESOURCES, namespace: Some(namespace), rules: &controller };
    let name = format!("{SANDBOXES}-resources");
    let of_account = Role { name: &name, namespace: Some(namespace), rules: &asking };
    vec![
        role.object(),
        role.binding(&account(NAMESPACE, CONTROLLER)),
        of_account.object(),
        of_account.binding(&account(namespace, SANDBOXES)),
    ]
}

/// In the namespace of the sandboxes.
fn in_namespace(meshes: &Meshes) -> Vec<Value> {
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    let mut rules = vec![
        rule("", &["configmaps"], &["get", "create", "patch", "delete"]),
        rule("", &["services"], &["create", "patch", "delete"]),
        rule("", &["secrets"], &["create"]),
        rule("apps", &["deployments", "statefulsets"], &["get", "create", "patch", "delete"]),
        // Why a fork is not ready.
        rule("", &["pods/log"], &["get"]),
    ];
    if meshes.has(MeshKind::Istio) {
        // Which table a sidecar has, from its metrics.
        rules.push(rule("", &["pods/proxy"], &["get"]));
    }
    rules.extend(listed(meshes));
    rules
}

/// The resources that are listed: what a fork depends on, its Pods, and in some meshes
/// the routes to it. Policies of each mesh are among them: they select Pods whether skycap writes for
/// their mesh or not.
fn listed(meshes: &Meshes) -> Vec<Value> {
    let routes = meshes.take_http_routes().then(|| PolicyKind::HttpRoute.names());
    let kinds = REQUIRED.iter().chain(&OPTIONAL).copied().chain([("v1", "Pod")]).chain(routes);
    lists(kinds)
}

/// Rules to list these kinds, one for each group.
fn lists(kinds: impl Iterator<Item = (&'static str, &'static str)>) -> Vec<Value> {
    let mut listed = BTreeMap::<_, Vec<_>>::new();
    for (api_version, kind) in kinds {
        let resource = resource(api_version, kind);
        listed.entry(resource.group).or_default().push(resource.plural);
    }
    let rule = |(group, resources): (String, _)| json!({"apiGroups": [group], "resources": resources, "verbs": ["list"]});
    listed.into_iter().map(rule).collect()
}

/// The comment above the controller's role.
pub const ABOUT_RESOURCES: &str = "What the controller needs to run the Jobs of `delete` in one namespace. Whoever may write a ConfigMap \
                                   there can then run a Job with any ServiceAccount of the namespace.";
/// The comment above the roles.
pub const ABOUT: &str = "What an account needs to make sandboxes in one namespace. Whoever may create a Deployment there can \
                         mount the namespace's Secrets into it.";
