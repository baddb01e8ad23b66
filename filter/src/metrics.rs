//! What skycap counts, as Envoy stats with Istio's labels.
//!
//! | stat (without its prefix `wasmcustom.`) | kind | label | what it counts or shows |
//! |---|---|---|---|
//! | `skycap_requests_total` | counter | `outcome` | requests, by [`Reason::OUTCOMES`] |
//! | `skycap_drops_total` | counter | `reason` | values that were dropped, by [`Reason::DROPS`] |
//! | `skycap_tables_refused_total` | counter | `plugin` | configurations that were rejected |
//! | `skycap_table_generation` | gauge | `plugin` | generation of the newest table, as a number below 2^48 |
//! | `skycap_table_keys`, `skycap_table_rows` | gauge | `plugin` | keys, and routes of all keys |
//! | `skycap_configure_microseconds` | gauge | `plugin` | time that reading the newest table took |
//! | `skycap_vms_total` | counter | `plugin` | VMs that have received a tick: one for each thread |
//! | `skycap_vm_milliseconds_total` | counter | `plugin` | sum of the time that all VMs have been running |
//!
//! Labels are part of the stat's name, as `outcome=.=routed;.;`. Istio turns them into labels with
//! `extraStatTags: [outcome, reason, plugin]` in its mesh configuration. The enums limit the number
//! of time series: no label is taken from a request.
//!
//! Envoy has no counter for a VM that has trapped, and with `FAIL_OPEN` requests skip that VM from
//! then on. `skycap rollout` detects it by a `skycap_vm_milliseconds_total` that no longer grows.
//!
//! Requests are counted in the module's memory. The sums are written to Envoy once a second and
//! with each new table, because a host call for each request would cost more than the decision.
//! When a worker ends, the sums of its last second are lost.

use skycap_core::{
    config::PluginConfig,
    reason::{Drops, Reason},
};

use crate::host::{self, Metric, MetricKind};

/// The counters of requests: in memory, with their metrics in the host.
pub(crate) struct Metrics {
    counts: [Count; Reason::OUTCOMES.len() + Reason::DROPS.len()],
    defined: bool,
}

/// The metrics of one plugin. A VM may have several plugins.
pub(crate) struct PluginMetrics {
    vms: Option<Metric>,
    milliseconds: Option<Metric>,
    /// The time up to which the VM's running time is counted, in nanoseconds of the host's clock.
    counted_until: u64,
    has_ticked: bool,
}

/// One counter: its metric, and the sum since the last flush.
#[derive(Clone, Copy)]
struct Count {
    metric: Option<Metric>,
    since_flush: u64,
}

impl Count {
    const NONE: Self = Self { metric: None, since_flush: 0 };

    const fn add(&mut self) {
        self.since_flush = self.since_flush.saturating_add(1);
    }

    fn flush(&mut self) {
        if let (Some(metric), 1..) = (self.metric, self.since_flush) {
            metric.increment(core::mem::take(&mut self.since_flush));
        }
    }
}

impl Metrics {
    pub(crate) const fn new() -> Self {
        Self { counts: [Count::NONE; Reason::OUTCOMES.len() + Reason::DROPS.len()], defined: false }
    }

    /// Defines the counters in the host, once for each VM.
    pub(crate) fn define(&mut self) {
        if core::mem::replace(&mut self.defined, true) {
            return;
        }
        let names = Reason::OUTCOMES
            .map(|reason| format!("skycap_requests_total.outcome=.={};.;", reason.label()))
            .into_iter()
            .chain(
                Reason::DROPS
                    .map(|reason| format!("skycap_drops_total.reason=.={};.;", reason.label())),
            );
        for (count, name) in self.counts.iter_mut().zip(names) {
            count.metric = host::define_metric(MetricKind::Counter, &name);
        }
    }

    /// Counts one request with its drops.
    pub(crate) fn count(&mut self, outcome: Reason, drops: Drops) {
        self.add(outcome);
        if !drops.is_empty() {
            drops.iter().for_each(|drop| self.add(drop));
        }
    }

    fn add(&mut self, reason: Reason) {
        if let Some(count) = self.counts.get_mut(reason.index()) {
            count.add();
        }
    }

    /// Adds the sums since the last flush to the metrics in the host.
    pub(crate) fn flush(&mut self) {
        self.counts.iter_mut().for_each(Count::flush);
    }
}

impl PluginMetrics {
    /// Defines the metrics of `plugin` in the host. `now` is the start of the VM's running time.
    pub(crate) fn define(plugin: &[u8], now: u64) -> Self {
        Self {
            vms: define(MetricKind::Counter, "skycap_vms_total", plugin),
            milliseconds: define(MetricKind::Counter, "skycap_vm_milliseconds_total", plugin),
            counted_until: now,
            has_ticked: false,
        }
    }

    /// Counts this VM at its first tick, and its running time at every tick.
    ///
    /// Not earlier, because Envoy tries each configuration in a VM that it ends before any tick.
    pub(crate) fn tick(&mut self, now: u64) {
        if let (Some(vms), false) = (self.vms, core::mem::replace(&mut self.has_ticked, true)) {
            vms.increment(1);
        }
        self.add_running_time(now);
    }

    /// Counts the VM's running time up to `now`.
    ///
    /// Also called for each new table, because a new table restarts Envoy's tick timer: with
    /// frequent tables there would be no tick.
    pub(crate) fn add_running_time(&mut self, now: u64) {
        let elapsed = now.saturating_sub(self.counted_until) / 1_000_000;
        if let (Some(milliseconds), 1..) = (self.milliseconds, elapsed) {
            milliseconds.increment(elapsed);
            self.counted_until =
                self.counted_until.saturating_add(elapsed.saturating_mul(1_000_000));
        }
    }
}

/// Counts a configuration that was rejected.
pub(crate) fn count_rejected(plugin: &[u8]) {
    if let Some(metric) = define(MetricKind::Counter, "skycap_tables_refused_total", plugin) {
        metric.increment(1);
    }
}

/// Records which table is in effect, and how long it took to read.
pub(crate) fn record_table(plugin: &[u8], config: &PluginConfig, nanoseconds: u64) {
    let length = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
    let gauges = [
        ("skycap_table_generation", config.generation.as_u64()),
        ("skycap_table_keys", length(config.keys.len())),
        ("skycap_table_rows", length(config.keys.rows())),
        ("skycap_configure_microseconds", nanoseconds / 1000),
    ];
    for (name, value) in gauges {
        if let Some(metric) = define(MetricKind::Gauge, name, plugin) {
            metric.record(value);
        }
    }
}

fn define(kind: MetricKind, name: &str, plugin: &[u8]) -> Option<Metric> {
    host::define_metric(kind, &format!("{name}.plugin=.={};.;", String::from_utf8_lossy(plugin)))
}
