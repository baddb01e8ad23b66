//! Objects of a cluster as skycap wants them, and how they are told from what is there.
//!
//! All of them are skycap's own: no object of the user's is ever edited, and
//! [`Object::is_in_place`] compares no more than what skycap says.

use crate::names::{MANAGED_BY, MANAGER};
use kube::core::{DynamicObject, GroupVersionKind, ObjectMeta, TypeMeta};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// An object as skycap wants it: kind, name, and every field that it says something of.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Object(pub(crate) DynamicObject);

/// Which object: enough to read, watch or delete it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// `networking.istio.io/v1alpha3`.
    pub api_version: String,
    /// `EnvoyFilter`.
    pub kind: String,
    /// `None` for kinds of the whole cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Object {
    /// An object from its YAML's JSON.
    ///
    /// # Errors
    /// When it has no `apiVersion`, `kind` or `metadata.name`.
    pub fn new(value: Value) -> anyhow::Result<Self> {
        let object: DynamicObject = serde_json::from_value(value)?;
        anyhow::ensure!(object.types.is_some(), "an object without apiVersion and kind");
        anyhow::ensure!(object.metadata.name.is_some(), "an object without metadata.name");
        Ok(Self(object))
    }

    /// Which object it is.
    #[must_use]
    pub fn reference(&self) -> ObjectRef {
        reference_of(&self.0)
    }

    /// The bytes of its JSON.
    #[must_use]
    pub fn bytes(&self) -> usize {
        serde_json::to_vec(&self.0).map_or(0, |json| json.len())
    }

    /// A merge patch that takes out of `live` what only skycap may say; `None` where all is well.
    #[must_use]
    pub fn cleaning(&self, live: &DynamicObject) -> Option<Value> {
        intruders(&live.data, &self.0.data, false)
    }

    /// Whether `live` says all that this object says; what others added to it is theirs.
    #[must_use]
    pub fn is_in_place(&self, live: &DynamicObject) -> bool {
        let labels = |object: &DynamicObject| object.metadata.labels.clone().unwrap_or_default();
        let live_labels = labels(live);
        labels(&self.0).iter().all(|(name, value)| live_labels.get(name) == Some(value))
            && contains(&live.data, &self.0.data)
    }
}

/// What a merge patch takes out of `live`: what others put into a `pluginConfig`, which is skycap's
/// as a whole. A server-side apply alone leaves it there, for it is theirs.
fn intruders(live: &Value, wanted: &Value, within: bool) -> Option<Value> {
    let (Value::Object(live), Value::Object(wanted)) = (live, wanted) else { return None };
    let fields = live.iter().filter_map(|(name, value)| {
        let patch = match wanted.get(name) {
            None => within.then_some(Value::Null),
            Some(wanted) => intruders(value, wanted, within || name == PLUGIN_CONFIG),
        };
        Some((name.clone(), patch?))
    });
    let fields: serde_json::Map<_, _> = fields.collect();
    (!fields.is_empty()).then_some(Value::Object(fields))
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

    /// How the API server calls this kind.
    #[must_use]
    pub fn resource(&self) -> kube::core::ApiResource {
        resource(&self.api_version, &self.kind)
    }
}

/// Which object this is.
#[must_use]
pub fn reference_of(object: &DynamicObject) -> ObjectRef {
    let TypeMeta { api_version, kind } = object.types.clone().unwrap_or_default();
    let ObjectMeta { namespace, name, .. } = object.metadata.clone();
    ObjectRef { api_version, kind, namespace, name: name.unwrap_or_default() }
}

/// How the API server calls a kind.
#[must_use]
pub fn resource(api_version: &str, kind: &str) -> kube::core::ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    kube::core::ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, namespace, name, .. } = self;
        match namespace {
            Some(namespace) => write!(f, "{kind} {namespace}/{name}"),
            None => write!(f, "{kind} {name}"),
        }
    }
}

/// Whether an object bears skycap's mark: no other is ever deleted, and no other HTTPRoute written.
#[must_use]
pub fn is_owned(live: &DynamicObject) -> bool {
    let labels = live.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|value| value == MANAGER)
}

/// Whether an object has a name of skycap's and is somebody else's: it bears no mark, and skycap has
/// never written it. Namespaces are often made first, and are no more than a place.
#[must_use]
pub fn is_foreign(live: &DynamicObject) -> bool {
    let managers = live.metadata.managed_fields.iter().flatten();
    let has_written = |manager: Option<&str>| manager == Some(MANAGER);
    let is_namespace = live.types.as_ref().is_some_and(|types| types.kind == "Namespace");
    !is_owned(live)
        && !is_namespace
        && !managers.map(|entry| entry.manager.as_deref()).any(has_written)
}

/// The JSON of an object with skycap's mark and the fields of `body`; kinds of the whole cluster
/// have no namespace.
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

/// Whether `live` has all of `wanted`: objects may have more fields, everything else is equal.
fn contains(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().all(|(name, wanted)| {
            live.get(name).is_some_and(|live| contains(live, wanted))
                // pluginConfig is skycap's as a whole: a key that is gone must be gone.
                && (name != PLUGIN_CONFIG || live.get(name) == Some(wanted))
        }),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(a, b)| contains(a, b))
        }
        _ => live == wanted,
    }
}

/// The field with the table: skycap's as a whole.
pub(crate) const PLUGIN_CONFIG: &str = "pluginConfig";
