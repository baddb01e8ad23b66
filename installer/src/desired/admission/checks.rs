//! The checks of the policy: a CEL expression that holds for well-formed ConfigMaps, and a message.

use serde_json::{Value, json};

use crate::{
    names::KIND_LABEL,
    table::limits::{FRAGMENT_BYTES, FRAGMENT_MEMBERS},
};

/// One validation of the policy.
pub(super) struct Check {
    /// The CEL expression; it may use the variables `kind`, `data` and `isSettings`.
    expression: String,
    /// The message if the expression is false: the field, what is wrong, what is expected.
    message: String,
}

impl Check {
    fn new(expression: String, message: impl Into<String>) -> Self {
        Self { expression, message: message.into() }
    }

    /// The entry in the policy's `validations`.
    pub(super) fn validation(&self) -> Value {
        let Self { expression, message } = self;
        json!({"expression": expression, "message": format!("skycap: {message}")})
    }
}

/// All checks, in the order in which the policy lists them.
pub(super) fn all_checks() -> Vec<Check> {
    [kind_and_fields(), limits(), choices(), keys(), times()].into_iter().flatten().collect()
}

/// The kind label, and the data keys that each kind has.
fn kind_and_fields() -> Vec<Check> {
    let for_kind = |kind: &str, fields: &[&str]| {
        let known = has_only(fields);
        let expression = format!("variables.isSettings || variables.kind != '{kind}' || ({known})");
        Check::new(expression, unknown_field(fields))
    };
    vec![
        Check::new(
            "variables.kind in ['sandbox', 'group', 'queue', 'resource', 'settings']".into(),
            format!("label {KIND_LABEL}: invalid value: expected `sandbox`, `group`, `queue`, `resource` or `settings`"),
        ),
        for_kind("sandbox", &SANDBOX_FIELDS),
        for_kind("group", &GROUP_FIELDS),
        for_kind("queue", &QUEUE_FIELDS),
        Check::new(
            "variables.isSettings || variables.kind != 'queue' || ['kafka', 'topic', 'group'].all(name, name in variables.data)".into(),
            "data: missing key: expected `kafka`, `topic` and `group`",
        ),
        for_kind("resource", &RESOURCE_FIELDS),
        Check::new(
            "variables.kind != 'resource' || ['manifest', 'ready'].all(name, name in variables.data)".into(),
            "data: missing key: a resource has at least `manifest` and `ready`",
        ),
        Check::new(
            format!("!variables.isSettings || {}", has_only(&SETTINGS_FIELDS)),
            unknown_field(&SETTINGS_FIELDS),
        ),
    ]
}

/// The limits of a fragment. CEL cannot read the YAML of `routes`, so it cannot count them.
fn limits() -> Vec<Check> {
    let size = "variables.data.map(name, bytes(name).size() + bytes(variables.data[name]).size())";
    let members = "variables.data['members'].split(',').filter(key, key.trim() != '').size()";
    vec![
        Check::new(
            format!("variables.isSettings || {size}.sum() <= {FRAGMENT_BYTES}"),
            format!("data: too large: expected at most {FRAGMENT_BYTES} bytes"),
        ),
        Check::new(
            format!("!('members' in variables.data) || {members} <= {FRAGMENT_MEMBERS}"),
            format!("data.members: too many members: expected at most {FRAGMENT_MEMBERS}"),
        ),
    ]
}

/// Fields whose value is one of a few words.
fn choices() -> Vec<Check> {
    vec![
        Check::new(
            is_one_of("enabled", &["true", "false"]),
            "data.enabled: invalid value: expected \"true\" or \"false\"",
        ),
        Check::new(
            is_one_of("onUnavailable", &["baseline", "fail"]),
            "data.onUnavailable: invalid value: expected `baseline` or `fail`",
        ),
        Check::new(
            is_one_of("unread", &["report", "requeue"]),
            "data.unread: invalid value: expected `report` or `requeue`",
        ),
        Check::new(
            is_one_of("dispatch", &["cluster-header", "authority", "header"]),
            "data.dispatch: invalid value: expected `cluster-header`, `authority` or `header`",
        ),
        Check::new(
            matches("mesh", MESHES),
            "data.mesh: invalid value: expected one or more of `istio`, `linkerd`, `gateway-api`, separated by commas",
        ),
    ]
}

/// Fields that hold routing keys.
fn keys() -> Vec<Check> {
    let name_is_key = "variables.isSettings || variables.kind in ['resource', 'settings'] || 'key' in variables.data || object.metadata.name.size() <= 64";
    let list = format!("^{SPACE}(,{SPACE})*({KEY}{SPACE}(,{SPACE}({KEY}{SPACE})?)*)?$");
    vec![
        Check::new(
            matches("key", ONE_KEY),
            "data.key: invalid routing key: expected 1 to 64 characters of A-Z a-z 0-9 . _ ~ -",
        ),
        Check::new(
            matches("extends", ONE_KEY),
            "data.extends: invalid routing key: expected 1 to 64 characters of A-Z a-z 0-9 . _ ~ -",
        ),
        Check::new(
            name_is_key.into(),
            "metadata.name: too long for a routing key: expected at most 64 characters; set data.key",
        ),
        Check::new(
            matches("members", &list),
            "data.members: invalid list: expected routing keys, separated by commas",
        ),
    ]
}

/// Fields that limit the lifetime of a fragment.
fn times() -> Vec<Check> {
    vec![
        Check::new(
            "!('ttl' in variables.data && 'expires' in variables.data)".into(),
            "data.ttl: conflicts with data.expires; keep one of the two",
        ),
        Check::new(
            matches("expires", r"^\\s*[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ].*$"),
            "data.expires: invalid time: expected RFC 3339, such as 2026-12-24T18:00:00Z",
        ),
        Check::new(
            matches("ttl", r"^.*[0-9].*$"),
            "data.ttl: invalid duration: expected a duration such as 72h, 7d or 1h30m",
        ),
    ]
}

fn has_only(fields: &[&str]) -> String {
    let names: Vec<_> = fields.iter().map(|field| format!("'{field}'")).collect();
    format!("variables.data.all(name, name in [{}])", names.join(", "))
}

fn unknown_field(fields: &[&str]) -> String {
    format!("data: unknown key: expected only `{}`", fields.join("`, `"))
}

/// An absent field, or one of these values; white space around it is ignored, as in the parser.
fn is_one_of(field: &str, values: &[&str]) -> String {
    let values: Vec<_> = values.iter().map(|value| format!("'{value}'")).collect();
    format!(
        "!('{field}' in variables.data) || variables.data['{field}'].trim() in [{}]",
        values.join(", ")
    )
}

/// An absent field, or a value that matches a regular expression (RE2, escaped for CEL).
fn matches(field: &str, pattern: &str) -> String {
    format!("!('{field}' in variables.data) || variables.data['{field}'].matches('{pattern}')")
}

const SANDBOX_FIELDS: [&str; 9] =
    ["key", "enabled", "extends", "onUnavailable", "ttl", "expires", "routes", "queues", "unread"];
const GROUP_FIELDS: [&str; 6] = ["key", "members", "match", "enabled", "ttl", "expires"];
const QUEUE_FIELDS: [&str; 6] = ["kafka", "secret", "topic", "group", "env", "unread"];
const RESOURCE_FIELDS: [&str; 4] = ["manifest", "env", "ready", "delete"];
const SETTINGS_FIELDS: [&str; 12] = [
    "enabled",
    "dispatch",
    "carriers",
    "onUnavailable",
    "explain",
    "clusterDomain",
    "mesh",
    "namespaces",
    "keyOwners",
    "edge",
    "edgeBypass",
    "deleteExpired",
];
const ONE_KEY: &str = r"^\\s*[A-Za-z0-9._~-]{1,64}\\s*$";
const MESHES: &str =
    r"^\\s*(istio|linkerd|gateway-api)\\s*(,\\s*(istio|linkerd|gateway-api)\\s*)*$";
/// A routing key within a list.
const KEY: &str = "[A-Za-z0-9._~-]{1,64}";
const SPACE: &str = r"\\s*";
