//! The ValidatingAdmissionPolicy on the controller's own writes: a controller that was taken over can
//! write into the mesh only what skycap writes.
//!
//! RBAC limits kinds and names, not contents. With `patch` on an EnvoyFilter in Istio's root namespace,
//! one can put Lua into every proxy, or take a JWT filter out of it; with `patch` on a plugin, load
//! another module, or reject every request. This policy applies only to the controller's
//! ServiceAccount, and fails closed: if it cannot be evaluated, the write is rejected, and routing
//! goes on with the last table.

use serde_json::{Value, json};

use super::{envoy_filters::filter_checks, module_pattern::module_pattern};
use crate::{
    desired::istio::IstioMesh,
    names::{
        CANARY, CONTROLLER, CONTROLLER_POLICY, DISPATCH_ROUTE, EDGE, KIND_LABEL, MANAGED_BY,
        MANAGER, NAMESPACE, PLUGIN, RESOURCE_LABEL,
    },
    objects::object,
};

/// The policy and its binding, for what the controller writes on this mesh.
#[must_use]
pub fn controller_policy(mesh: &IstioMesh) -> Vec<Value> {
    let rule = |group: &str, resources: &[&str], operations: &[&str]| {
        json!({
            "apiGroups": [group], "apiVersions": ["*"], "resources": resources,
            "operations": operations,
        })
    };
    let write = ["CREATE", "UPDATE"];
    let rules = json!([
        rule("extensions.istio.io", &["wasmplugins", "trafficextensions"], &write),
        rule("networking.istio.io", &["envoyfilters"], &write),
        rule("", &["configmaps"], &["UPDATE", "DELETE"]),
        rule("gateway.networking.k8s.io", &["httproutes"], &["CREATE", "UPDATE", "DELETE"]),
    ]);
    let user =
        format!("request.userInfo.username == 'system:serviceaccount:{NAMESPACE}:{CONTROLLER}'");
    let spec = json!({
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": rules},
        "matchConditions": [{"name": "is-the-controller", "expression": user}],
        "variables": [
            {"name": "isMap", "expression": "request.resource.resource == 'configmaps'"},
            {"name": "isRoute", "expression": "request.resource.resource == 'httproutes'"},
            {"name": "isFilter", "expression": "request.resource.resource == 'envoyfilters'"},
            {"name": "isPlugin", "expression": "!variables.isMap && !variables.isRoute && !variables.isFilter"},
            {"name": "wasm", "expression": "request.resource.resource == 'trafficextensions' ? object.spec.wasm : object.spec"},
        ],
        "validations": validations(mesh),
    });
    let group = "admissionregistration.k8s.io/v1";
    let binding = json!({"spec": {"policyName": CONTROLLER_POLICY, "validationActions": ["Deny"]}});
    vec![
        object(group, "ValidatingAdmissionPolicy", None, CONTROLLER_POLICY, json!({"spec": spec})),
        object(group, "ValidatingAdmissionPolicyBinding", None, CONTROLLER_POLICY, binding),
    ]
}

fn validations(mesh: &IstioMesh) -> Vec<Value> {
    let root = &mesh.root_namespace;
    let own_objects = check(
        &format!(
            "variables.isMap || variables.isRoute || (request.namespace == '{root}' && \
             request.name in ['{PLUGIN}', '{CANARY}', '{DISPATCH_ROUTE}', '{EDGE}'])"
        ),
        "the controller writes only its own objects",
    );
    let maps = check(
        &ends(),
        "the controller deletes only sandboxes and groups that have a `ttl` or `expires`",
    );
    let records = check(
        &own_record(),
        "the controller changes only its own ConfigMaps and the finalizers of resources",
    );
    let routes = check(&own_route(), "the controller writes only its own HTTPRoutes of Services");
    let of_plugins = plugin_checks(mesh).into_iter().map(|(expression, message)| {
        check(&format!("!variables.isPlugin || ({expression})"), message)
    });
    let of_filters = filter_checks(mesh).into_iter().map(|(expression, message)| {
        check(&format!("!variables.isFilter || ({expression})"), message)
    });
    [own_objects, maps, records, routes].into_iter().chain(of_plugins).chain(of_filters).collect()
}

/// Expressions that hold for skycap's plugins, each with the message if it does not.
fn plugin_checks(mesh: &IstioMesh) -> Vec<(String, &'static str)> {
    let fields = "['url', 'pluginName', 'failStrategy', 'pluginConfig', 'imagePullSecret', \
                  'match', 'selector']";
    let pattern = cel(&json!(module_pattern(&mesh.module_url)));
    vec![
        (
            format!(
                "variables.wasm.all(field, field in {fields}) && \
                 object.spec.all(field, field in ['wasm'] + {fields})"
            ),
            "the controller sets no other field of a plugin",
        ),
        (
            format!("variables.wasm.url.matches({pattern})"),
            "the module must be of the repository that was installed, pinned by its digest",
        ),
        ("variables.wasm.failStrategy == 'FAIL_OPEN'".into(), "a plugin must fail open"),
        (
            "object.spec.match == [{'mode': 'CLIENT'}]".into(),
            "a plugin is for outbound requests only",
        ),
        (
            format!("(request.name == '{CANARY}') == has(object.spec.selector)"),
            "only the canary's plugin has a selector",
        ),
    ]
}

fn check(expression: &str, message: &str) -> Value {
    json!({"expression": expression, "message": format!("skycap: {message}")})
}

/// A fragment that ends by itself. RBAC cannot tell it from any other ConfigMap.
fn ends() -> String {
    format!(
        "!variables.isMap || request.operation != 'DELETE' || (oldObject.metadata.?labels[?'{KIND_LABEL}'].orValue('') in \
         ['sandbox', 'group'] && ['ttl', 'expires'].exists(field, field in oldObject.?data.orValue({{}})))"
    )
}

/// The record of a resource, in which the data and the labels stay. RBAC cannot tell it from any other
/// ConfigMap either.
fn own_record() -> String {
    let same =
        |field: &str| format!("object.{field}.orValue({{}}) == oldObject.{field}.orValue({{}})");
    format!(
        "!variables.isMap || request.operation != 'UPDATE' || request.namespace == '{NAMESPACE}' || \
         ('{RESOURCE_LABEL}' in oldObject.metadata.?labels.orValue({{}}) && {} && {} && {})",
        same("?data"),
        same("?binaryData"),
        same("metadata.?labels"),
    )
}

/// HTTPRoutes that skycap created, whose parents are Services.
fn own_route() -> String {
    let is_own = |object: &str| {
        format!("{object}.metadata.?labels[?'{MANAGED_BY}'].orValue('') == '{MANAGER}'")
    };
    format!(
        "!variables.isRoute || ((request.operation == 'CREATE' || {}) && (request.operation == 'DELETE' || \
         ({} && object.spec.parentRefs.all(parent, parent.kind == 'Service'))))",
        is_own("oldObject"),
        is_own("object"),
    )
}

/// A value as a literal of CEL, whose strings and numbers are written as in JSON. The values of a map
/// must be of one type there, so those of maps are declared as `dyn`.
pub(super) fn cel(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            format!("[{}]", items.iter().map(cel).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| {
                format!("{}: dyn({})", Value::from(name.as_str()), cel(value))
            });
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
