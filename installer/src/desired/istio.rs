//! What a compiled table becomes on Istio: the plugin with the table in its `pluginConfig`, and the
//! EnvoyFilter with the dispatch route.

mod filters;

use crate::names::{CANARY, DISPATCH_ROUTE, PLUGIN};
use serde_json::{Value, json};
use skycap_core::dispatch::Dispatch;

pub use self::filters::dispatch_route;

use super::plan::Live;
use crate::{
    objects::{Object, ObjectRef, PLUGIN_CONFIG, object},
    table::{
        compile::Compilation,
        rollout::{Canary, Rollout},
    },
};

/// Where the mesh wants skycap's objects, and where it gets the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IstioMesh {
    /// Istio's root namespace, where a plugin holds for all workloads.
    pub root_namespace: String,
    /// Which of Istio's two kinds of plugin the cluster serves.
    pub plugin: PluginKind,
    /// Where Istio's agent gets the module: `oci://…`, `https://…` or `file:///…`.
    pub module_url: String,
    /// The Secret of type `kubernetes.io/dockerconfigjson` in the root namespace by which Istio's
    /// agent gets into the registry.
    pub pull_secret: Option<String>,
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

impl IstioMesh {
    /// What the cluster must hold for this compilation. Where the settings are refused, only the
    /// report: the table that is in place stays.
    ///
    /// # Errors
    /// [`TooLarge`], and then the last good table stays.
    pub fn objects(&self, compilation: &Compilation) -> anyhow::Result<Vec<Object>> {
        let mut objects = Vec::new();
        if let Some(config) = &compilation.config {
            let table = serde_json::to_value(config)?;
            let Rollout { module, canary, .. } = &compilation.rollout;
            let module = module.as_ref().unwrap_or(&self.module_url);
            let plugin = self.plugin(PLUGIN, module, table.clone())?;
            let bytes = plugin.bytes();
            if bytes > TABLE_LIMIT {
                return Err(TooLarge { bytes }.into());
            }
            if config.dispatch == Dispatch::ClusterHeader {
                objects.push(self.dispatch_route()?);
            }
            objects.push(plugin);
            if let Some(Canary { module, selector, .. }) = canary {
                let mut plugin = self.plugin(CANARY, module, table)?;
                plugin.0.data["spec"]["selector"] = json!({"matchLabels": selector});
                objects.extend([plugin, self.aside(selector)?]);
            }
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
            // First the everyday plugin comes back, then the canary goes.
            reference(ENVOY_FILTER.0, ENVOY_FILTER.1, CANARY),
            reference(plugin_version, plugin_kind, CANARY),
        ]
    }

    /// The plugins of Istio's other kind, as an installation before this one may have left them: from
    /// Istio 1.30 on both would be in force.
    #[must_use]
    pub fn of_other_kind(&self) -> Vec<ObjectRef> {
        let plugin = match self.plugin {
            PluginKind::WasmPlugin => PluginKind::TrafficExtension,
            PluginKind::TrafficExtension => PluginKind::WasmPlugin,
        };
        let (_, kind) = plugin.kind();
        let other = Self { plugin, ..self.clone() };
        other.references().into_iter().filter(|reference| reference.kind == kind).collect()
    }

    /// The table in the plugin, as it is in the cluster.
    #[must_use]
    pub fn table_of<'a>(&self, live: &'a Live) -> Option<&'a Value> {
        self.wasm_of(live)?.get(PLUGIN_CONFIG)
    }

    /// What Envoy calls the plugin, and the filter's counters their label.
    #[must_use]
    pub fn plugin_name(&self) -> String {
        format!("{}.{PLUGIN}", self.root_namespace)
    }

    /// Where the plugin's module comes from, as it is in the cluster.
    #[must_use]
    pub fn module_of<'a>(&self, live: &'a Live) -> Option<&'a str> {
        self.wasm_of(live)?.get("url")?.as_str()
    }

    fn wasm_of<'a>(&self, live: &'a Live) -> Option<&'a Value> {
        let (api_version, kind) = self.plugin.kind();
        let is_plugin =
            |reference: &&ObjectRef| reference.kind == kind && reference.api_version == api_version;
        let spec = &live.get(self.references().iter().find(is_plugin)?)?.data["spec"];
        match self.plugin {
            PluginKind::WasmPlugin => Some(spec),
            PluginKind::TrafficExtension => spec.get("wasm"),
        }
    }

    /// The plugin, fail-open: a mesh without skycap serves the baseline, one that fails closed
    /// serves nobody.
    fn plugin(&self, name: &str, module: &str, config: Value) -> anyhow::Result<Object> {
        let (api_version, kind) = self.plugin.kind();
        let mut wasm = json!({
            "url": module,
            "pluginName": PLUGIN,
            "failStrategy": "FAIL_OPEN",
            PLUGIN_CONFIG: config,
        });
        if let Some(secret) = &self.pull_secret {
            wasm["imagePullSecret"] = secret.as_str().into();
        }
        let mut spec = match self.plugin {
            PluginKind::WasmPlugin => wasm,
            PluginKind::TrafficExtension => json!({"wasm": wasm}),
        };
        spec["match"] = json!([{"mode": "CLIENT"}]);
        let namespace = Some(self.root_namespace.as_str());
        Object::new(object(api_version, kind, namespace, name, json!({"spec": spec})))
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

    /// The name of its CustomResourceDefinition.
    #[must_use]
    pub const fn crd(self) -> &'static str {
        match self {
            Self::WasmPlugin => "wasmplugins.extensions.istio.io",
            Self::TrafficExtension => "trafficextensions.extensions.istio.io",
        }
    }

    /// What Envoy calls the filter of the plugin `name` (istio: pilot's `model.GetExtensionName`,
    /// and from 1.30 on the translation of WasmPlugins): a name for each range of versions.
    fn filters(self, name: &str) -> Vec<String> {
        let group = "extensions.istio.io";
        match self {
            Self::TrafficExtension => vec![format!("{group}/trafficextension/{name}")],
            Self::WasmPlugin => vec![
                format!("{group}/trafficextension/{name}~istio-translated-wasmplugin"),
                format!("{group}/wasmplugin/{name}"),
            ],
        }
    }
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

const ENVOY_FILTER: (&str, &str) = ("networking.istio.io/v1alpha3", "EnvoyFilter");
/// Bytes of the plugin with the table, as JSON. etcd takes requests of 1.5 MiB; the rest is for what
/// Kubernetes and others write beside it.
pub const TABLE_LIMIT: usize = 1200 << 10;
