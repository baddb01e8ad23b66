//! The ValidatingAdmissionPolicy: what a fragment may say, as far as CEL sees it.
//!
//! The controller refuses the same and more (CEL does not read the YAML of `routes`), so a cluster
//! without the policy loses nothing but the early word. Everything that is refused here is refused
//! by [`Fragment::parse`](crate::table::fragments::Fragment::parse) and
//! [`Settings::parse`](crate::table::settings::Settings::parse) too; a test holds both against each other.

use crate::names::{FRAGMENTS_POLICY, ROLLOUT};
use serde_json::{Value, json};

use crate::{
    names::{KIND_LABEL, NAMESPACE, SETTINGS},
    objects::object,
};

/// The policy and its binding.
#[must_use]
pub fn policy() -> Vec<Value> {
    let rules = json!([{
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["configmaps"],
    }]);
    let selector = json!({"matchExpressions": [{"key": KIND_LABEL, "operator": "Exists"}]});
    let spec = json!({
        // A policy that cannot be evaluated must not keep anyone from working.
        "failurePolicy": "Ignore",
        "matchConstraints": {"resourceRules": rules, "objectSelector": selector},
        "matchConditions": [{
            "name": "is-no-rollout",
            "expression": format!(
                "object.metadata.namespace != '{NAMESPACE}' || object.metadata.name != '{}'",
                ROLLOUT
            ),
        }],
        "variables": [
            {"name": "kind", "expression": format!("object.metadata.labels['{KIND_LABEL}']")},
            {"name": "data", "expression": "has(object.data) ? object.data : {}"},
            {"name": "isSettings", "expression": format!("object.metadata.namespace == '{NAMESPACE}' && object.metadata.name == '{SETTINGS}'")},
        ],
        "validations": validations(),
    });
    let group = "admissionregistration.k8s.io/v1";
    let bound = json!({"spec": {"policyName": FRAGMENTS_POLICY, "validationActions": ["Deny"]}});
    vec![
        object(group, "ValidatingAdmissionPolicy", None, FRAGMENTS_POLICY, json!({"spec": spec})),
        object(group, "ValidatingAdmissionPolicyBinding", None, FRAGMENTS_POLICY, bound),
    ]
}

fn validations() -> Value {
    let toggle = one_of("enabled", &["true", "false"]);
    let keys = |names: &str| format!("variables.data.all(name, name in [{names}])");
    let of = |kind: &str, then: &str| {
        format!("variables.isSettings || variables.kind != '{kind}' || ({then})")
    };
    let checks = [
        (
            "variables.kind in ['sandbox', 'group', 'settings']".to_owned(),
            format!("label {KIND_LABEL}: expected `sandbox`, `group` or `settings`"),
        ),
        (
            of("sandbox", &keys("'key', 'enabled', 'extends', 'onUnavailable', 'ttl', 'expires', 'routes'")),
            "data: expected of `key`, `enabled`, `extends`, `onUnavailable`, `ttl`, `expires`, `routes`".into(),
        ),
        (
            of("group", &keys("'key', 'members', 'enabled', 'ttl', 'expires'")),
            "data: expected of `key`, `members`, `enabled`, `ttl`, `expires`".into(),
        ),
        (
            format!("!variables.isSettings || {}", keys("'enabled', 'dispatch', 'carriers', 'onUnavailable', 'explain', 'clusterDomain', 'mesh', 'namespaces'")),
            "data: expected of `enabled`, `dispatch`, `carriers`, `onUnavailable`, `explain`, `clusterDomain`, `mesh`, `namespaces`".into(),
        ),
        (toggle, "data.enabled: expected \"true\" or \"false\"".into()),
        (
            one_of("onUnavailable", &["baseline", "fail"]),
            "data.onUnavailable: expected `baseline` or `fail`".into(),
        ),
        (
            one_of("dispatch", &["cluster-header", "authority", "header"]),
            "data.dispatch: expected `cluster-header`, `authority` or `header`".into(),
        ),
        (
            matches("mesh", MESHES),
            "data.mesh: expected of `istio`, `linkerd`, `gateway-api`, with commas between".into(),
        ),
        (
            matches("key", KEY),
            "data.key: expected 1 to 64 of A-Z a-z 0-9 . _ ~ -".into(),
        ),
        (
            matches("extends", KEY),
            "data.extends: expected a routing key, 1 to 64 of A-Z a-z 0-9 . _ ~ -".into(),
        ),
        (
            "variables.isSettings || variables.kind == 'settings' || 'key' in variables.data || object.metadata.name.size() <= 64".into(),
            "metadata.name: longer than a routing key may be, choose one with data.key".into(),
        ),
        (
            matches("members", &format!("^{LIST_SPACE}(,{LIST_SPACE})*({ONE}{LIST_SPACE}(,{LIST_SPACE}({ONE}{LIST_SPACE})?)*)?$")),
            "data.members: expected routing keys with commas between".into(),
        ),
        (
            "!('ttl' in variables.data && 'expires' in variables.data)".into(),
            "data.ttl: there is `expires` too; keep one of the two".into(),
        ),
        (
            matches("expires", r"^\\s*[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ].*$"),
            "data.expires: expected a time of RFC 3339, such as 2026-12-24T18:00:00Z".into(),
        ),
        (
            matches("ttl", r"^.*[0-9].*$"),
            "data.ttl: expected a time to live, such as 72h, 7d or 1h30m".into(),
        ),
    ];
    let check = |(expression, message): &(String, String)| json!({"expression": expression, "message": format!("skycap: {message}")});
    checks.iter().map(check).collect()
}

/// What a value is, space around it aside, as the parser has it.
fn one_of(name: &str, values: &[&str]) -> String {
    let values: Vec<_> = values.iter().map(|value| format!("'{value}'")).collect();
    format!(
        "!('{name}' in variables.data) || variables.data['{name}'].trim() in [{}]",
        values.join(", ")
    )
}

fn matches(name: &str, pattern: &str) -> String {
    format!("!('{name}' in variables.data) || variables.data['{name}'].matches('{pattern}')")
}

const KEY: &str = r"^\\s*[A-Za-z0-9._~-]{1,64}\\s*$";
const MESHES: &str =
    r"^\\s*(istio|linkerd|gateway-api)\\s*(,\\s*(istio|linkerd|gateway-api)\\s*)*$";
const ONE: &str = "[A-Za-z0-9._~-]{1,64}";
const LIST_SPACE: &str = r"\\s*";
