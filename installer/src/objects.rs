//! Objects as skycap wants them in a cluster, and how they are compared with what is there.
//!
//! All of them are skycap's own. It edits no object of the user, and compares only the fields that
//! it sets.

use std::fmt;

use kube::core::{ApiResource, DynamicObject, GroupVersionKind, ObjectMeta, TypeMeta};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::names::{MANAGED_BY, MANAGER};

/// An object as skycap wants it: kind, name, and every field that skycap sets.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Object(pub(crate) DynamicObject);

impl Object {
    /// An object from JSON.
    ///
    /// # Errors
    /// If it has no `apiVersion`, `kind` or `metadata.name`.
    pub fn new(value: Value) -> anyhow::Result<Self> {
        let object: DynamicObject = serde_json::from_value(value)?;
        anyhow::ensure!(object.types.is_some(), "an object has no `apiVersion` or `kind`");
        anyhow::ensure!(object.metadata.name.is_some(), "an object has no `metadata.name`");
        Ok(Self(object))
    }

    /// Which object it is.
    #[must_use]
    pub fn reference(&self) -> ObjectRef {
        reference_of(&self.0)
    }

    /// The size of its JSON, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        serde_json::to_vec(&self.0).map_or(0, |json| json.len())
    }

    /// A merge patch that removes from `live` what others added to a field that is skycap's as a
    /// whole; `None` if there is nothing to remove.
    #[must_use]
    pub fn cleaning(&self, live: &DynamicObject) -> Option<Value> {
        foreign_fields(&live.data, &self.0.data, false)
    }

    /// Whether `live` has all fields and labels of this object. It may have more, from other owners.
    #[must_use]
    pub fn is_in_place(&self, live: &DynamicObject) -> bool {
        let labels = |object: &DynamicObject| object.metadata.labels.clone().unwrap_or_default();
        let live_labels = labels(live);
        labels(&self.0).iter().all(|(name, value)| live_labels.get(name) == Some(value))
            && contains(&live.data, &self.0.data)
    }
}

/// Which object: enough to read, watch or delete it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// The API version, as `networking.istio.io/v1alpha3`.
    pub api_version: String,
    /// The kind, as `EnvoyFilter`.
    pub kind: String,
    /// The namespace; `None` for a cluster-scoped kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl ObjectRef {
    /// An object in a namespace.
    #[must_use]
    pub fn new(api_version: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: Some(namespace.into()),
            name: name.into(),
        }
    }

    /// A ConfigMap.
    #[must_use]
    pub fn config_map(namespace: &str, name: &str) -> Self {
        Self::new("v1", "ConfigMap", namespace, name)
    }

    /// The API server's name for this kind.
    #[must_use]
    pub fn resource(&self) -> ApiResource {
        resource(&self.api_version, &self.kind)
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name, .. } = self;
        match namespace {
            Some(namespace) => write!(f, "{kind} {namespace}/{name}"),
            None => write!(f, "{kind} {name}"),
        }
    }
}

/// Which object `object` is.
#[must_use]
pub fn reference_of(object: &DynamicObject) -> ObjectRef {
    let TypeMeta { api_version, kind } = object.types.clone().unwrap_or_default();
    let ObjectMeta { namespace, name, .. } = object.metadata.clone();
    ObjectRef { api_version, kind, namespace, name: name.unwrap_or_default() }
}

/// The API server's name for a kind.
#[must_use]
pub fn resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// Whether an object has skycap's label. skycap deletes no other object, and changes no other
/// HTTPRoute.
#[must_use]
pub fn is_owned(live: &DynamicObject) -> bool {
    let labels = live.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|value| value == MANAGER)
}

/// Whether an object with one of skycap's names belongs to another owner: it does not have skycap's
/// label, and skycap has never written it. A Namespace does not count, because users often create
/// it before they install skycap.
#[must_use]
pub fn is_foreign(live: &DynamicObject) -> bool {
    let managers = live.metadata.managed_fields.iter().flatten();
    let is_skycap = |manager: Option<&str>| manager == Some(MANAGER);
    let is_namespace = live.types.as_ref().is_some_and(|types| types.kind == "Namespace");
    !is_owned(live)
        && !is_namespace
        && !managers.map(|entry| entry.manager.as_deref()).any(is_skycap)
}

/// The JSON of an object with skycap's label and the fields of `body`. `namespace` is `None` for a
/// cluster-scoped kind.
pub(crate) fn object(
    api_version: &str,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    body: Value,
) -> Value {
    let mut object = json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "labels": {MANAGED_BY: MANAGER}},
    });
    if let Some(namespace) = namespace {
        object["metadata"]["namespace"] = namespace.into();
    }
    if let (Value::Object(object), Value::Object(body)) = (&mut object, body) {
        object.extend(body);
    }
    object
}

/// A merge patch that removes from a `pluginConfig` in `live` the fields that `wanted` does not
/// have. A server-side apply leaves them there, because other field managers own them.
fn foreign_fields(live: &Value, wanted: &Value, in_plugin_config: bool) -> Option<Value> {
    let (Value::Object(live), Value::Object(wanted)) = (live, wanted) else { return None };
    let fields = live.iter().filter_map(|(name, value)| {
        let patch = match wanted.get(name) {
            None => in_plugin_config.then_some(Value::Null),
            Some(wanted) => {
                foreign_fields(value, wanted, in_plugin_config || name == PLUGIN_CONFIG)
            }
        };
        Some((name.clone(), patch?))
    });
    let fields: serde_json::Map<_, _> = fields.collect();
    (!fields.is_empty()).then_some(Value::Object(fields))
}

/// Whether `live` has all of `wanted`: a map may have more fields, everything else must be equal.
fn contains(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().all(|(name, wanted)| {
            live.get(name).is_some_and(|live| contains(live, wanted))
                // A key that was removed from the table must be removed from pluginConfig too.
                && (name != PLUGIN_CONFIG || live.get(name) == Some(wanted))
        }),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(a, b)| contains(a, b))
        }
        _ => live == wanted,
    }
}

/// The field with the table. It is skycap's as a whole.
pub(crate) const PLUGIN_CONFIG: &str = "pluginConfig";
