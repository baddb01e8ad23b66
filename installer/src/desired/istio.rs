//! The objects of a compiled table on Istio: the plugin with the table in its `pluginConfig`, and
//! the EnvoyFilter of the dispatch.

mod edge;
mod filters;
mod plugin_kind;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use self::{
    edge::edge_patch,
    filters::{CONTEXTS, dispatch_route, early_removal, patch_connection_manager},
    plugin_kind::PluginKind,
};

use super::plan::Live;
use crate::{
    names::{CANARY, DISPATCH_ROUTE, EDGE, PLUGIN},
    objects::{Object, ObjectRef, PLUGIN_CONFIG, object},
    table::{
        compile::Compilation,
        limits::TABLE_BYTES,
        rollout::{Canary, Rollout},
    },
};

/// Where skycap's objects belong on Istio, and where Istio's agents fetch the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IstioMesh {
    /// Istio's root namespace: a plugin there applies to all workloads.
    pub root_namespace: String,
    /// The kind of plugin to write.
    pub plugin: PluginKind,
    /// The URL of the module for Istio's agents: `oci://…`, `https://…` or `file:///…`.
    pub module_url: String,
    /// The Secret in the root namespace with the registry's credentials for Istio's agents; of type
    /// `kubernetes.io/dockerconfigjson`.
    pub pull_secret: Option<String>,
}

impl IstioMesh {
    /// The objects for a compilation; none if the settings are rejected. If the record of the rollout
    /// is rejected, each workload keeps the module that it has in `live`.
    ///
    /// # Errors
    /// [`TooLarge`]: the API server would reject the table.
    pub fn objects(&self, compilation: &Compilation, live: &Live) -> anyhow::Result<Vec<Object>> {
        let mut objects = Vec::new();
        if let Some(config) = &compilation.config {
            let table = serde_json::to_value(config)?;
            let rollout = compilation.rollout.clone().unwrap_or_else(|| self.rollout_of(live));
            let Rollout { module, canary, .. } = &rollout;
            let module = module.as_ref().unwrap_or(&self.module_url);
            let plugin = self.plugin(PLUGIN, module, table.clone())?;
            let bytes = plugin.bytes();
            if bytes > TABLE_LIMIT {
                return Err(TooLarge { bytes }.into());
            }
            objects.extend(self.dispatch_filter(config.dispatch, &config.cluster_domain)?);
            objects.extend(self.edge_filter(config)?);
            objects.push(plugin);
            if let Some(Canary { module, selector, .. }) = canary {
                let mut plugin = self.plugin(CANARY, module, table)?;
                plugin.0.data["spec"]["selector"] = json!({"matchLabels": selector});
                objects.extend([plugin, self.plugin_removal(selector)?]);
            }
        }
        Ok(objects)
    }

    /// All objects that skycap may have on Istio: `uninstall` deletes them, and the controller
    /// deletes those that the current dispatch and rollout do not need.
    #[must_use]
    pub fn references(&self) -> Vec<ObjectRef> {
        let (plugin_version, plugin_kind) = self.plugin.kind();
        let reference = |api_version: &str, kind: &str, name: &str| ObjectRef {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: Some(self.root_namespace.clone()),
            name: name.into(),
        };
        let filter = |name: &str| reference(ENVOY_FILTER.0, ENVOY_FILTER.1, name);
        vec![
            reference(plugin_version, plugin_kind, PLUGIN),
            filter(DISPATCH_ROUTE),
            filter(EDGE),
            // In the order of deletion: the regular plugin is back before the canary's plugin goes.
            filter(CANARY),
            reference(plugin_version, plugin_kind, CANARY),
        ]
    }

    /// The plugins of Istio's other kind, which an earlier installation may have left. From Istio
    /// 1.30 on, plugins of both kinds would take effect.
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

    /// The table in the cluster's plugin; `None` if there is no plugin.
    #[must_use]
    pub fn table_of<'a>(&self, live: &'a Live) -> Option<&'a Value> {
        self.wasm_of(live)?.get(PLUGIN_CONFIG)
    }

    /// The name of the plugin in Envoy, and in the label `plugin` of the filter's counters.
    #[must_use]
    pub fn plugin_name(&self) -> String {
        format!("{}.{PLUGIN}", self.root_namespace)
    }

    /// The names of the HTTP filter that Istio may make of the plugin.
    pub(crate) fn filter_names(&self) -> Vec<String> {
        self.plugin.filter_names(&self.plugin_name())
    }

    /// The URL of the module in the cluster's plugin; `None` if there is no plugin.
    #[must_use]
    pub fn module_of<'a>(&self, live: &'a Live) -> Option<&'a str> {
        self.wasm_of(live)?.get("url")?.as_str()
    }

    /// Which module serves which workloads in the cluster, by the plugins that are there.
    fn rollout_of(&self, live: &Live) -> Rollout {
        let canary = || {
            let selector = self.spec_of(live, CANARY)?.pointer("/selector/matchLabels")?;
            Some(Canary {
                module: self.wasm_named(live, CANARY)?.get("url")?.as_str()?.to_owned(),
                selector: serde_json::from_value(selector.clone()).ok()?,
                until: Timestamp::MAX,
            })
        };
        let module = self.module_of(live).map(str::to_owned);
        Rollout { module, canary: canary(), outcome: None }
    }

    fn wasm_of<'a>(&self, live: &'a Live) -> Option<&'a Value> {
        self.wasm_named(live, PLUGIN)
    }

    fn spec_of<'a>(&self, live: &'a Live, name: &str) -> Option<&'a Value> {
        let (api_version, kind) = self.plugin.kind();
        let is_plugin = |reference: &&ObjectRef| {
            reference.kind == kind && reference.api_version == api_version && reference.name == name
        };
        live.get(self.references().iter().find(is_plugin)?)?.data.get("spec")
    }

    fn wasm_named<'a>(&self, live: &'a Live, name: &str) -> Option<&'a Value> {
        let spec = self.spec_of(live, name)?;
        match self.plugin {
            PluginKind::WasmPlugin => Some(spec),
            PluginKind::TrafficExtension => spec.get("wasm"),
        }
    }

    /// The plugin. It fails open: if the module cannot run, requests go to the baseline; failing
    /// closed would reject every request of the mesh.
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

/// The table is too large for the API server.
#[derive(Debug, thiserror::Error)]
#[error(
    "the table has {bytes} bytes: expected at most {TABLE_LIMIT} (the limit of etcd for a request, \
     less what Kubernetes adds); the last valid table stays; delete sandboxes, or use target names \
     that contain the routing key"
)]
pub struct TooLarge {
    /// The size of the plugin with the table as JSON, in bytes.
    pub bytes: usize,
}

const ENVOY_FILTER: (&str, &str) = ("networking.istio.io/v1alpha3", "EnvoyFilter");
/// The limit for the plugin with the table as JSON, in bytes: [`TABLE_BYTES`], and room for the
/// plugin's own fields.
pub const TABLE_LIMIT: usize = TABLE_BYTES + (16 << 10);
