//! What skycap counts, as Envoy stats with Istio's labels.
//!
//! | stat (`wasmcustom.` before it) | kind | label | what |
//! |---|---|---|---|
//! | `skycap_requests_total` | counter | `outcome` | requests, by [`Reason::OUTCOMES`] |
//! | `skycap_drops_total` | counter | `reason` | what was dropped on the way, by [`Reason::DROPS`] |
//! | `skycap_tables_refused_total` | counter | `plugin` | configurations that did not parse |
//! | `skycap_table_generation` | gauge | `plugin` | the newest table's generation, as a number below 2^48 |
//! | `skycap_table_keys`, `skycap_table_rows` | gauge | `plugin` | keys, and routes of all keys |
//! | `skycap_configure_microseconds` | gauge | `plugin` | how long the newest table took to read |
//! | `skycap_vms_total` | counter | `plugin` | VMs that have begun to tick: one a thread |
//! | `skycap_vm_milliseconds_total` | counter | `plugin` | how long all of them have lived, together |
//!
//! Labels are written into the name, as `outcome=.=routed;.;`: Istio makes labels of them with
//! `extraStatTags: [outcome, reason, plugin]` in its mesh configuration. There are as many time
//! series as the enum has variants: nothing that comes in a request becomes a label.
//!
//! Envoy counts nowhere that a VM has trapped, and with `FAIL_OPEN` requests pass it from then on: that
//! it no longer lives is how `skycap rollout` sees it.
//!
//! A request counts in the module's memory, and once a second, and with each new table, the sums go
//! to Envoy: a host call for each request would cost more than the decision. A worker that ends takes
//! the sums of its last second with it.

use skycap_core::{
    config::PluginConfig,
    reason::{Drops, Reason},
};

use crate::host::{self, Metric, MetricKind};

/// Counters in memory, and where they go in the host.
pub(crate) struct Metrics {
    counts: [Count; Reason::OUTCOMES.len() + Reason::DROPS.len()],
    defined: bool,
}

/// What is counted of one plugin, in a VM that may have several.
pub(crate) struct PluginMetrics {
    vms: Option<Metric>,
    lived: Option<Metric>,
    /// Up to when the VM's life is counted, in nanoseconds of the host's clock.
    counted: u64,
    has_ticked: bool,
}

/// A sum that the host does not know yet.
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

    /// Makes the counters known to the host, once in a VM.
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

    /// Counts one request.
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

    pub(crate) fn flush(&mut self) {
        self.counts.iter_mut().for_each(Count::flush);
    }
}

impl PluginMetrics {
    pub(crate) fn define(plugin: &[u8], now: u64) -> Self {
        Self {
            vms: define(MetricKind::Counter, "skycap_vms_total", plugin),
            lived: define(MetricKind::Counter, "skycap_vm_milliseconds_total", plugin),
            counted: now,
            has_ticked: false,
        }
    }

    /// Counts this VM as one that serves: Envoy's trial of a configuration does not live to tick.
    pub(crate) fn tick(&mut self, now: u64) {
        if let (Some(vms), false) = (self.vms, core::mem::replace(&mut self.has_ticked, true)) {
            vms.increment(1);
        }
        self.live(now);
    }

    /// Counts this VM's life up to now. Each new table sets Envoy's timer back, so ticks alone would
    /// not do.
    pub(crate) fn live(&mut self, now: u64) {
        let milliseconds = now.saturating_sub(self.counted) / 1_000_000;
        if let (Some(lived), 1..) = (self.lived, milliseconds) {
            lived.increment(milliseconds);
            self.counted = self.counted.saturating_add(milliseconds.saturating_mul(1_000_000));
        }
    }
}

/// Counts a configuration that did not parse.
pub(crate) fn count_refused(plugin: &[u8]) {
    if let Some(metric) = define(MetricKind::Counter, "skycap_tables_refused_total", plugin) {
        metric.increment(1);
    }
}

/// Tells which table serves.
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
