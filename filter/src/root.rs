//! The state of a VM: its tables, its counters, and the decisions that wait for a response.

use std::{collections::VecDeque, rc::Rc};

use skycap_core::{
    config::ConfigError,
    limits::PENDING_DECISIONS,
    table::{Seed, Table},
};

use crate::{
    host::{self, LogLevel},
    metrics::{self, Metrics, PluginMetrics},
};

/// The state of one VM.
///
/// A table belongs to its plugin, not to its root context. The newest accepted table decides every
/// request, including requests whose root context is older. Thus Envoy does not have to call
/// `proxy_on_context_create` and `proxy_on_delete` for each request, and an old table is freed as
/// soon as it is replaced.
pub(crate) struct Root {
    plugins: Vec<Plugin>,
    pub(crate) metrics: Metrics,
    pub(crate) logs_debug: bool,
    /// Whether the last request had the list header that was read: the next one probably has it too.
    pub(crate) expects_lists: bool,
    /// The decision headers, each with the stream whose response will carry it.
    pending: VecDeque<(u32, String)>,
}

/// One `WasmPlugin` of this VM, with its table.
struct Plugin {
    name: Vec<u8>,
    /// `None` until a table has been accepted.
    table: Option<Rc<Table>>,
    metrics: PluginMetrics,
}

impl Root {
    pub(crate) const fn new() -> Self {
        Self {
            plugins: Vec::new(),
            metrics: Metrics::new(),
            logs_debug: false,
            expects_lists: false,
            pending: VecDeque::new(),
        }
    }

    /// Reads the table of the plugin that Envoy is configuring. Returns `false` to reject it.
    ///
    /// Law 5: an invalid table is rejected if an older one is in effect. An invalid first table is
    /// accepted as "no table", because Envoy does not start a listener whose filter is missing.
    pub(crate) fn configure(&mut self, size: usize) -> bool {
        let start = host::now();
        self.logs_debug = host::logs_debug();
        self.metrics.define();
        host::tick_every(TICK_MILLISECONDS);
        let name = host::property("plugin_name").unwrap_or_default();
        let json = host::plugin_configuration(size).unwrap_or_default();
        match Table::from_json(&json, Seed::new(host::random())) {
            Ok(table) => {
                drop(json);
                let table = table.placed_by(is_gateway(), label);
                self.accept(name, table, start);
                true
            }
            Err(error) => self.reject(name, &error),
        }
    }

    /// Returns the table for the current request, or `None` if its plugin has accepted none yet.
    pub(crate) fn table(&self) -> Option<Rc<Table>> {
        self.plugins.get(current_plugin(&self.plugins)?)?.table.clone()
    }

    /// Writes the counters to Envoy, and reads whether Envoy logs debug lines.
    pub(crate) fn tick(&mut self) {
        self.logs_debug = host::logs_debug();
        self.metrics.flush();
        let plugin = current_plugin(&self.plugins).and_then(|index| self.plugins.get_mut(index));
        if let Some(plugin) = plugin {
            plugin.metrics.tick(host::now());
        }
    }

    /// Keeps a decision until the response of `stream` arrives.
    ///
    /// When [`PENDING_DECISIONS`] are kept, the oldest is removed: a stream may end without a
    /// response, and the filter is not told.
    pub(crate) fn remember(&mut self, stream: u32, decision: String) {
        if self.pending.len() >= PENDING_DECISIONS {
            self.pending.pop_front();
        }
        self.pending.push_back((stream, decision));
    }

    /// Removes and returns the decision that is kept for `stream`.
    pub(crate) fn recall(&mut self, stream: u32) -> Option<String> {
        let index = self.pending.iter().position(|(other, _)| *other == stream)?;
        self.pending.remove(index).map(|(_, decision)| decision)
    }

    fn accept(&mut self, name: Vec<u8>, table: Table, start: u64) {
        let (config, nanoseconds) = (table.config(), host::now().saturating_sub(start));
        let (keys, rows) = (config.keys.len(), config.keys.rows());
        let line = format!(
            "skycap: table {}: {keys} keys, {rows} rows, {} routes, dispatch {}, accepted in {} us",
            config.generation,
            config.routes.len(),
            config.dispatch,
            nanoseconds / 1000,
        );
        host::log(LogLevel::Info, &line);
        host::share(&shared_key(&name), config.generation.to_string().as_bytes());
        metrics::record_table(&name, config, nanoseconds);
        self.metrics.flush();
        let plugin = self.plugin(name);
        plugin.table = Some(Rc::new(table));
        plugin.metrics.add_running_time(host::now());
    }

    fn reject(&mut self, name: Vec<u8>, error: &ConfigError) -> bool {
        metrics::count_rejected(&name);
        let has_table =
            self.plugins.iter().any(|plugin| plugin.name == name && plugin.table.is_some());
        // Envoy first tries a configuration in a VM of its own, which has no table. Only the data
        // that all VMs share shows that VM that this is an update.
        let is_update = has_table || host::is_shared(&shared_key(&name));
        let consequence = if is_update {
            "the previous table stays in effect"
        } else {
            "there is no table yet, so all requests go to the baseline"
        };
        host::log(
            LogLevel::Error,
            &format!("skycap: pluginConfig rejected, {consequence}: {error}"),
        );
        if !is_update {
            self.plugin(name);
        }
        // A VM that has a table keeps it and still returns `true`. Envoy passes it an invalid
        // configuration only if a trial VM once accepted the same bytes as a first configuration,
        // because Envoy caches that result. On `false`, Envoy would then remove the filter, and
        // with it the table.
        has_table || !is_update
    }

    /// Returns the plugin of this name; adds it if this is its first configuration.
    fn plugin(&mut self, name: Vec<u8>) -> &mut Plugin {
        let index = self.plugins.iter().position(|plugin| plugin.name == name);
        let index = index.unwrap_or(self.plugins.len());
        if index == self.plugins.len() {
            let metrics = PluginMetrics::define(&name, host::now());
            self.plugins.push(Plugin { name, table: None, metrics });
        }
        #[expect(clippy::indexing_slicing, reason = "the plugin was found or added above")]
        &mut self.plugins[index]
    }
}

/// Whether the proxy is a gateway, by the first part of its id (istio: `model.Router`).
fn is_gateway() -> bool {
    node("id").is_some_and(|id| id.starts_with(b"router~"))
}

/// Returns a label of the proxy's Pod. Istio's agent writes the labels to the proxy's own node
/// (istio: `model.NodeMetadata`).
fn label(name: &str) -> Option<Vec<u8>> {
    node(&["metadata\0LABELS\0", name].concat())
}

/// Returns a field of the proxy's own node.
fn node(path: &str) -> Option<Vec<u8>> {
    let path = ["xds\0node\0", path].concat();
    // Older Envoys have the node under its own name only.
    host::property(&path).or_else(|| host::property(path.strip_prefix("xds\0")?))
}

/// Returns the index of the plugin for which Envoy has called the VM.
fn current_plugin(plugins: &[Plugin]) -> Option<usize> {
    // Nearly every proxy has one plugin of skycap; this saves it the host call for the name.
    if let [_] = plugins {
        return Some(0);
    }
    let name = host::property("plugin_name").unwrap_or_default();
    plugins.iter().position(|plugin| plugin.name == name)
}

/// Returns the key of a plugin in the shared data, which other Wasm plugins of the proxy use too.
fn shared_key(plugin: &[u8]) -> String {
    format!("skycap/table/{}", String::from_utf8_lossy(plugin))
}

/// Milliseconds between two flushes of the counters.
///
/// With less, the host calls would cost more; with more, `skycap status` and dashboards would lag.
const TICK_MILLISECONDS: u32 = 1_000;
