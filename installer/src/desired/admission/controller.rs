//! The ValidatingAdmissionPolicy on the controller's own writes: a controller that was taken over can
//! write into the mesh only what skycap writes.
//!
//! RBAC limits kinds and names, not contents. With `patch` on an EnvoyFilter in Istio's root namespace,
//! one can put Lua into every proxy, or take a JWT filter out of it; with `patch` on a plugin, load
//! another module, or reject every request. This policy applies only to the controller's
//! ServiceAccount, and fails closed: if it cannot be evaluated, the write is rejected, and routing
//! goes on with the last table.

use serde_json::{Value, json};
use skycap_core::config::{ClusterDomain, Dispatch};

use super::module_pattern::module_pattern;
use crate::{
    desired::istio::{
        CONTEXTS, IstioMesh, dispatch_route, early_removal, edge_name, edge_patch,
        patch_connection_manager,
    },
    names::{
        CANARY, CONTROLLER, CONTROLLER_POLICY, DISPATCH_ROUTE, MANAGED_BY, MANAGER, NAMESPACE,
        PLUGIN,
    },
    objects::object,
    table::edge::EDGES,
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
        rule("gateway.networking.k8s.io", &["httproutes"], &["CREATE", "UPDATE", "DELETE"]),
    ]);
    let user =
        format!("request.userInfo.username == 'system:serviceaccount:{NAMESPACE}:{CONTROLLER}'");
    let edges: Vec<_> = (0..EDGES).map(edge_name).collect();
    let spec = json!({
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": rules},
        "matchConditions": [{"name": "is-the-controller", "expression": user}],
        "variables": [
            {"name": "isRoute", "expression": "request.resource.resource == 'httproutes'"},
            {"name": "isFilter", "expression": "request.resource.resource == 'envoyfilters'"},
            {"name": "isEdge", "expression": format!("variables.isFilter && request.name in {}", cel(&json!(edges)))},
            {"name": "isPlugin", "expression": "!variables.isRoute && !variables.isFilter"},
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
            "variables.isRoute || (request.namespace == '{root}' && \
             (request.name in ['{PLUGIN}', '{CANARY}', '{DISPATCH_ROUTE}'] || variables.isEdge))"
        ),
        "the controller writes only its own objects",
    );
    let routes = check(&own_route(), "the controller writes only its own HTTPRoutes of Services");
    let of_plugins = plugin_checks(mesh).into_iter().map(|(expression, message)| {
        check(&format!("!variables.isPlugin || ({expression})"), message)
    });
    let of_filters = filter_checks(mesh).into_iter().map(|(expression, message)| {
        check(&format!("!variables.isFilter || ({expression})"), message)
    });
    [own_objects, routes].into_iter().chain(of_plugins).chain(of_filters).collect()
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

/// Expressions that hold for skycap's EnvoyFilters, each with the message if it does not.
fn filter_checks(mesh: &IstioMesh) -> Vec<(String, &'static str)> {
    let (dispatch, removal) = (dispatch_patch(), removal_patch(mesh));
    let contexts = cel(&json!(CONTEXTS));
    vec![
        (
            format!(
                "(request.name == '{DISPATCH_ROUTE}') != has(object.spec.workloadSelector) && \
                 object.spec.all(field, field in ['configPatches', 'workloadSelector'])"
            ),
            "the EnvoyFilters of a canary and of an edge select workloads, and that of the dispatch none",
        ),
        (
            format!(
                "request.name != '{DISPATCH_ROUTE}' || \
                 object.spec.configPatches.all(patch, {dispatch})"
            ),
            "an EnvoyFilter may hold only the patches of skycap's dispatch",
        ),
        (
            format!(
                "request.name != '{DISPATCH_ROUTE}' || object.spec.configPatches.filter(patch, \
                 patch.applyTo == 'NETWORK_FILTER').map(patch, patch.match.context) == {contexts}"
            ),
            "the dispatch header of clients must be removed",
        ),
        (
            format!(
                "request.name != '{CANARY}' || object.spec.configPatches.all(patch, {removal})"
            ),
            "the canary's EnvoyFilter may only remove skycap's own plugin",
        ),
        (
            format!("!variables.isEdge || object.spec.configPatches.all(patch, {})", edge_check()),
            "the EnvoyFilter of an edge may only remove carriers from requests",
        ),
    ]
}

fn check(expression: &str, message: &str) -> Value {
    json!({"expression": expression, "message": format!("skycap: {message}")})
}

/// A patch of the dispatch: as [`IstioMesh`] writes it, with any cluster domain.
fn dispatch_patch() -> String {
    let headers = [Dispatch::ClusterHeader, Dispatch::Header].into_iter();
    let removals: Vec<_> = headers
        .filter_map(Dispatch::owned_header)
        .flat_map(|header| {
            CONTEXTS.map(|context| patch_connection_manager(context, &early_removal(header)))
        })
        .collect();
    let mut route = dispatch_route(&ClusterDomain::default());
    let matched = route["match"].take();
    let header = &matched["headers"][0]["name"];
    let prefix = r"outbound\|[0-9]+\|\|[a-z0-9-]+\.[a-z0-9-]+\.svc\.";
    let fields = route.as_object().into_iter().flatten().filter(|(name, _)| *name != "match");
    let same: String = fields
        .map(|(name, value)| format!(" && patch.patch.value.{name} == {}", cel(value)))
        .collect();
    let names: Vec<_> = route.as_object().into_iter().flat_map(|route| route.keys()).collect();
    format!(
        "patch in {} || (patch.applyTo == 'HTTP_ROUTE' && patch.match.all(field, field == 'context') \
         && patch.patch.operation == 'INSERT_FIRST' && patch.patch.all(field, field in ['operation', 'value']) \
         && patch.patch.value.all(field, field in {}){same} \
         && patch.patch.value.match.all(field, field in ['prefix', 'headers']) \
         && patch.patch.value.match.headers.size() == 1 \
         && patch.patch.value.match.headers.all(header, header.name == {} \
         && header.all(field, field in ['name', 'string_match']) \
         && header.string_match.all(field, field == 'safe_regex') \
         && header.string_match.safe_regex.regex.startsWith({})))",
        cel(&json!(removals)),
        cel(&json!(names)),
        cel(header),
        cel(&json!(prefix)),
    )
}

/// A patch that removes skycap's own plugin from the canary's workloads.
fn removal_patch(mesh: &IstioMesh) -> String {
    let filters = mesh.filter_names();
    format!(
        "patch.applyTo == 'HTTP_FILTER' && patch.patch == {{'operation': 'REMOVE'}} && \
         patch.match.listener.filterChain.filter.subFilter.name in {}",
        cel(&json!(filters))
    )
}

/// A patch of the edge: as [`IstioMesh`] writes it, for any header that may be a carrier, and with any
/// condition under which the header stays.
fn edge_check() -> String {
    let mut patch = edge_patch("HEADER", &[]);
    let filter = patch["patch"]["value"].take();
    let config = &filter["typed_config"];
    // The header is what the filter's name ends with.
    let header = "patch.patch.value.name.substring(PREFIX)";
    let prefix = filter["name"].as_str().unwrap_or_default().trim_end_matches("HEADER");
    let header = header.replace("PREFIX", &prefix.len().to_string());
    let removal = cel(&config["extension_config"]).replace("\"HEADER\"", &header);
    format!(
        "patch.applyTo == 'HTTP_FILTER' && patch.match == {} && patch.all(field, field in \
         ['applyTo', 'match', 'patch']) && patch.patch.operation == 'INSERT_BEFORE' && \
         patch.patch.all(field, field in ['operation', 'value']) && \
         patch.patch.value.all(field, field in ['name', 'typed_config']) && \
         patch.patch.value.name.startsWith({}) && \
         !{header}.matches('^(:.*|host|cookie|authorization|x-forwarded-.*|x-envoy-.*)$') && \
         patch.patch.value.typed_config.all(field, field in ['@type', 'extension_config', 'xds_matcher']) && \
         patch.patch.value.typed_config['@type'] == {} && \
         patch.patch.value.typed_config.extension_config == {removal}",
        cel(&patch["match"]),
        cel(&json!(prefix)),
        cel(&config["@type"]),
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
fn cel(value: &Value) -> String {
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
