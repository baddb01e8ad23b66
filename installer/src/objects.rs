//! What a compiled table becomes in a cluster: the objects that skycap owns, as values.
//!
//! On Istio that is the plugin with the table in its `pluginConfig`, the EnvoyFilter with the
//! dispatch route, and a ConfigMap with the report. All of them are skycap's own: no object of
//! the user's is ever edited, and [`Object::is_in_place`] compares no more than what skycap says.

use kube::core::{DynamicObject, GroupVersionKind, ObjectMeta, TypeMeta};
use serde::Serialize;
use serde_json::{Value, json};
use skycap_core::dispatch::{CLUSTER_HEADER, Dispatch};

use crate::{compile::Compilation, plan::Live, report::Report, settings::NAMESPACE};

/// An object as skycap wants it: kind, name, and every field that it says something of.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Object(pub(crate) DynamicObject);

/// Which object: enough to read, watch or delete it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// `networking.istio.io/v1alpha3`.
    pub api_version: String,
    /// `EnvoyFilter`.
    pub kind: String,
    /// `None` for kinds of the whole cluster.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// Where the mesh wants skycap's objects, and where it gets the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mesh {
    /// Istio's root namespace, where a plugin holds for all workloads.
    pub root_namespace: String,
    /// Which of Istio's two kinds of plugin the cluster serves.
    pub plugin: PluginKind,
    /// Where Istio's agent gets the module: `oci://…`, `https://…` or `file:///…`.
    pub module_url: String,
}

/// Istio's kinds of plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum PluginKind {
    /// From Istio 1.12 on
    WasmPlugin,
    /// From Istio 1.30 on, in its extended channel
    TrafficExtension,
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
        let TypeMeta { api_version, kind } = self.0.types.clone().unwrap_or_default();
        let ObjectMeta { namespace, name, .. } = self.0.metadata.clone();
        ObjectRef { api_version, kind, namespace, name: name.unwrap_or_default() }
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
    /// How the API server calls this kind.
    #[must_use]
    pub fn resource(&self) -> kube::core::ApiResource {
        let (group, version) = self.api_version.split_once('/').unwrap_or(("", &self.api_version));
        kube::core::ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &self.kind))
    }
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

impl PluginKind {
    /// The plugin's group, version and kind.
    #[must_use]
    pub const fn kind(self) -> (&'static str, &'static str) {
        match self {
            Self::WasmPlugin => ("extensions.istio.io/v1alpha1", "WasmPlugin"),
            Self::TrafficExtension => ("extensions.istio.io/v1alpha1", "TrafficExtension"),
        }
    }
}

impl Mesh {
    /// What the cluster must hold for this compilation. Where the settings are refused, only the
    /// report: the table that is in place stays.
    ///
    /// # Errors
    /// [`TooLarge`], and then the last good table stays.
    pub fn objects(&self, compilation: &Compilation) -> anyhow::Result<Vec<Object>> {
        let mut objects = Vec::new();
        if let Some(config) = &compilation.config {
            let table = serde_json::to_value(config)?;
            let plugin = self.plugin(table)?;
            let bytes = plugin.bytes();
            if bytes > TABLE_LIMIT {
                return Err(TooLarge { bytes }.into());
            }
            if config.dispatch == Dispatch::ClusterHeader {
                objects.push(self.dispatch_route()?);
            }
            objects.push(plugin);
        }
        Ok(objects)
    }

    /// Everything that this mesh may ever hold, for `uninstall` and for what a changed dispatch
    /// leaves behind.
    #[must_use]
    pub fn references(&self) -> Vec<ObjectRef> {
        let (plugin_version, plugin_kind) = self.plugin.kind();
        let reference = |api_version: &str, kind: &str, name: &str| ObjectRef {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: Some(self.root_namespace.clone()),
            name: name.into(),
        };
        vec![
            reference(plugin_version, plugin_kind, PLUGIN),
            reference(ENVOY_FILTER.0, ENVOY_FILTER.1, DISPATCH_ROUTE),
        ]
    }

    /// The table in the plugin, as it is in the cluster.
    #[must_use]
    pub fn table_of<'a>(&self, live: &'a Live) -> Option<&'a Value> {
        let (api_version, kind) = self.plugin.kind();
        let is_plugin =
            |reference: &&ObjectRef| reference.kind == kind && reference.api_version == api_version;
        let spec = &live.get(self.references().iter().find(is_plugin)?)?.data["spec"];
        match self.plugin {
            PluginKind::WasmPlugin => spec.get(PLUGIN_CONFIG),
            PluginKind::TrafficExtension => spec.get("wasm")?.get(PLUGIN_CONFIG),
        }
    }

    /// The plugin, fail-open: a mesh without skycap serves the baseline, one that fails closed
    /// serves nobody.
    fn plugin(&self, config: Value) -> anyhow::Result<Object> {
        let (api_version, kind) = self.plugin.kind();
        let wasm = json!({
            "url": self.module_url,
            "pluginName": PLUGIN,
            "failStrategy": "FAIL_OPEN",
            PLUGIN_CONFIG: config,
        });
        let mut spec = match self.plugin {
            PluginKind::WasmPlugin => wasm,
            PluginKind::TrafficExtension => json!({"wasm": wasm}),
        };
        spec["match"] = json!([{"mode": "CLIENT"}]);
        owned(api_version, kind, &self.root_namespace, PLUGIN, json!({"spec": spec}))
    }

    /// The dispatch route, first in every virtual host of sidecars and gateways (istio: pilot's
    /// `INSERT_FIRST` of an `HTTP_ROUTE`). Its retries are Istio's default ones.
    fn dispatch_route(&self) -> anyhow::Result<Object> {
        let patch = |context: &str| {
            json!({
                "applyTo": "HTTP_ROUTE",
                "match": {"context": context},
                "patch": {"operation": "INSERT_FIRST", "value": dispatch_route()},
            })
        };
        let patches = [patch("SIDECAR_OUTBOUND"), patch("GATEWAY")];
        let spec = json!({"spec": {"configPatches": patches}});
        owned(ENVOY_FILTER.0, ENVOY_FILTER.1, &self.root_namespace, DISPATCH_ROUTE, spec)
    }
}

/// The route that takes a request to the cluster that its dispatch header names.
#[must_use]
pub fn dispatch_route() -> Value {
    json!({
        "name": "skycap",
        "match": {
            "prefix": "/",
            "headers": [{"name": CLUSTER_HEADER, "present_match": true}],
        },
        "route": {
            "cluster_header": CLUSTER_HEADER,
            "timeout": "0s",
            // Istio's default for HTTP (istio: pilot/pkg/networking/core/route/retry `DefaultPolicy`).
            "retry_policy": {
                "num_retries": 2,
                "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
                "retry_host_predicate": [{
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
                    },
                }],
                "host_selection_retry_max_attempts": "5",
                "retriable_status_codes": [503],
            },
        },
        "request_headers_to_remove": [CLUSTER_HEADER],
    })
}

/// The report as a ConfigMap. One that is too large keeps its problems and counts, and as many
/// fragments as there is room for.
///
/// # Errors
/// As `serde_json`.
pub fn status(report: &Report, summary: &Value) -> anyhow::Result<Object> {
    let mut report = report.clone();
    let mut json = serde_json::to_string(&report)?;
    if json.len() > STATUS_LIMIT {
        let keep = report.fragments.len() * STATUS_LIMIT / json.len() / 2;
        report.truncate(keep);
        json = serde_json::to_string(&report)?;
    }
    let data = json!({"summary.json": summary.to_string(), "report.json": json});
    owned("v1", "ConfigMap", NAMESPACE, STATUS, json!({"data": data}))
}

/// A table that the API server would not take.
#[derive(Debug, thiserror::Error)]
#[error(
    "the table has {bytes} bytes, expected at most {TABLE_LIMIT} (etcd's limit of a request less \
     Kubernetes' own share); the last good one stays: end sandboxes, or give targets names that \
     contain their key"
)]
pub struct TooLarge {
    /// The size of the plugin with the table, as JSON.
    pub bytes: usize,
}

fn owned(
    api_version: &str,
    kind: &str,
    namespace: &str,
    name: &str,
    body: Value,
) -> anyhow::Result<Object> {
    let mut object = json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"namespace": namespace, "name": name, "labels": {MANAGED_BY: MANAGER}},
    });
    if let (Value::Object(object), Value::Object(body)) = (&mut object, body) {
        object.extend(body);
    }
    Object::new(object)
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

/// The name of the plugin.
pub const PLUGIN: &str = "skycap";
/// The name of the EnvoyFilter.
pub const DISPATCH_ROUTE: &str = "skycap-dispatch";
/// The name of the ConfigMap with the report.
pub const STATUS: &str = "skycap-status";
/// The label that says whose an object is.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`], and skycap's field manager.
pub const MANAGER: &str = "skycap";
/// The field with the table: skycap's as a whole.
pub(crate) const PLUGIN_CONFIG: &str = "pluginConfig";
const ENVOY_FILTER: (&str, &str) = ("networking.istio.io/v1alpha3", "EnvoyFilter");
/// Bytes of the plugin with the table, as JSON. etcd takes requests of 1.5 MiB, and the API server writes each key
/// twice: once in the object and once in its managed fields.
pub const TABLE_LIMIT: usize = 700 << 10;
/// Bytes of a report in a ConfigMap, of which 1 MiB is the limit.
const STATUS_LIMIT: usize = 512 << 10;
