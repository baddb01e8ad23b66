//! The VM's state: the tables that serve, the counters, and the decisions that wait for a response.

use std::{collections::VecDeque, rc::Rc};

use skycap_core::{config::ConfigError, limits::PENDING_DECISIONS, table::Table};

use crate::{
    host::{self, LogLevel},
    metrics::{self, Metrics, PluginMetrics},
};

/// All that a VM knows.
///
/// A table belongs to its plugin, not to its root context: what decides is the newest table that
/// was accepted, also for a request whose root context is older. That spares two entries into the
/// VM for each request (`proxy_on_context_create`, `proxy_on_delete`), and an old table is freed
/// as soon as it is replaced.
pub(crate) struct Root {
    plugins: Vec<Plugin>,
    pub(crate) metrics: Metrics,
    pub(crate) logs_debug: bool,
    /// Whether the last request had the list that was asked for: most likely the next has it too.
    pub(crate) expects_lists: bool,
    /// Decision headers, by the stream whose response is to carry them.
    pending: VecDeque<(u32, String)>,
}

/// One `WasmPlugin` of this VM and its table, `None` until there is a good one.
struct Plugin {
    name: Vec<u8>,
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

    /// Takes the table of the plugin that is being configured, or refuses it.
    ///
    /// Law 5: a bad table is refused where an older one serves. A bad first one is taken as "no
    /// table", because Envoy would not start the listener without its filter.
    pub(crate) fn configure(&mut self, size: usize) -> bool {
        let start = host::now();
        self.logs_debug = host::logs_debug();
        self.metrics.define();
        host::tick_every(TICK_MILLISECONDS);
        let name = host::property("plugin_name").unwrap_or_default();
        let json = host::plugin_configuration(size).unwrap_or_default();
        match Table::from_json(&json) {
            Ok(table) => {
                drop(json);
                self.accept(name, table, start);
                true
            }
            Err(error) => self.refuse(name, &error),
        }
    }

    /// The table for the request at hand; `None` where no plugin has a good one yet.
    pub(crate) fn table(&self) -> Option<Rc<Table>> {
        self.plugins.get(place(&self.plugins)?)?.table.clone()
    }

    pub(crate) fn tick(&mut self) {
        self.logs_debug = host::logs_debug();
        self.metrics.flush();
        let plugin = place(&self.plugins).and_then(|place| self.plugins.get_mut(place));
        if let Some(plugin) = plugin {
            plugin.metrics.tick(host::now());
        }
    }

    /// Keeps a decision until the response of `stream` comes by.
    pub(crate) fn remember(&mut self, stream: u32, decision: String) {
        // Streams that end without a response are never heard of again.
        if self.pending.len() >= PENDING_DECISIONS {
            self.pending.pop_front();
        }
        self.pending.push_back((stream, decision));
    }

    /// The decision of `stream`, once.
    pub(crate) fn recall(&mut self, stream: u32) -> Option<String> {
        let place = self.pending.iter().position(|(other, _)| *other == stream)?;
        self.pending.remove(place).map(|(_, decision)| decision)
    }

    fn accept(&mut self, name: Vec<u8>, table: Table, start: u64) {
        let (config, nanoseconds) = (table.config(), host::now().saturating_sub(start));
        let (keys, rows) = (config.keys.len(), config.keys.rows());
        let line = format!(
            "skycap: table {}: {keys} keys, {rows} rows, {} routes, dispatch {}, taken in {} us",
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
        plugin.metrics.live(host::now());
    }

    fn refuse(&mut self, name: Vec<u8>, error: &ConfigError) -> bool {
        metrics::count_refused(&name);
        let serves =
            self.plugins.iter().any(|plugin| plugin.name == name && plugin.table.is_some());
        // Envoy tries a configuration in a VM of its own first, which has seen no table: only what
        // all VMs share tells it that this is an update.
        let is_update = serves || host::is_shared(&shared_key(&name));
        let effect =
            if is_update { "the old table serves on" } else { "no table yet, all requests pass" };
        host::log(LogLevel::Error, &format!("skycap: pluginConfig is refused, {effect}: {error}"));
        if !is_update {
            self.plugin(name);
        }
        // Where this VM itself has the old table, it keeps it and says yes. Envoy comes this far
        // only with a configuration that its trial VM once took as a first one and that it then
        // remembers as good: to a no it would drop the filter, and with it the old table.
        serves || !is_update
    }

    fn plugin(&mut self, name: Vec<u8>) -> &mut Plugin {
        let place = self.plugins.iter().position(|plugin| plugin.name == name);
        let place = place.unwrap_or(self.plugins.len());
        if place == self.plugins.len() {
            let metrics = PluginMetrics::define(&name, host::now());
            self.plugins.push(Plugin { name, table: None, metrics });
        }
        #[expect(clippy::indexing_slicing, reason = "the place was found or made above")]
        &mut self.plugins[place]
    }
}

/// The place of the plugin that Envoy has entered the VM for.
fn place(plugins: &[Plugin]) -> Option<usize> {
    // By far the most: one skycap in a proxy, and no need to ask whose request this is.
    if let [_] = plugins {
        return Some(0);
    }
    let name = host::property("plugin_name").unwrap_or_default();
    plugins.iter().position(|plugin| plugin.name == name)
}

/// Other plugins of the proxy may share the same store, so the key says whose it is.
fn shared_key(plugin: &[u8]) -> String {
    format!("skycap/table/{}", String::from_utf8_lossy(plugin))
}

/// Often enough for a person who watches, rarely enough to cost nothing.
const TICK_MILLISECONDS: u32 = 1_000;
