//! Logs, traces and metrics of the controller.
//!
//! | metric | kind | meaning |
//! |---|---|---|
//! | `skycap_controller_rounds` | counter | rounds that succeeded |
//! | `skycap_controller_errors` | counter | rounds that failed and are retried |
//! | `skycap_controller_writes` | counter | objects written |
//! | `skycap_controller_leader` | gauge | 1 on the leader, the replica that writes |
//! | `skycap_controller_keys` | gauge | routing keys in the table |
//! | `skycap_controller_bytes` | gauge | size of the plugin with the table, in bytes |
//! | `skycap_controller_refused` | gauge | fragments and settings that are rejected |
//! | `skycap_controller_behind` | gauge | seconds for which a watch has failed; 0 if none fails |
//! | `skycap_controller_round_seconds` | gauge | duration of the last round, in seconds |
//!
//! `/metrics` serves them in the OpenMetrics format. If `OTEL_EXPORTER_OTLP_ENDPOINT` is set, they
//! are exported there too, with a span for each round. The other environment variables of
//! OpenTelemetry's specification ("OTLP exporter") apply as well.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use super::health::Health;
use crate::{
    problem::Severity,
    table::compile::Compilation,
    telemetry::{Telemetry, observe_counter, observe_gauge},
};

/// The controller's metrics.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    pub(super) rounds: Counter,
    pub(super) errors: Counter,
    pub(super) writes: Counter,
    pub(super) leader: Gauge,
    pub(super) keys: Gauge,
    pub(super) bytes: Gauge,
    pub(super) refused: Gauge,
    behind: Gauge,
    health: Arc<Health>,
    pub(super) seconds: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// Metrics that are all 0.
    pub(super) fn new(health: Arc<Health>) -> Self {
        Self { health, ..Self::default() }
    }

    /// Records a round that succeeded.
    pub(super) fn observe(&self, compilation: &Compilation, took: Duration, writes: usize) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let problems = &compilation.report.problems;
        self.rounds.inc();
        self.writes.inc_by(u64::try_from(writes).unwrap_or(0));
        self.keys.set(number(compilation.config.as_ref().map_or(0, |config| config.keys.len())));
        self.refused
            .set(number(problems.iter().filter(|p| p.severity == Severity::Refused).count()));
        self.seconds.set(took.as_secs_f64());
    }

    /// The metrics in the OpenMetrics format.
    pub(super) fn text(&self) -> String {
        let mut registry = Registry::with_prefix(PREFIX);
        for (name, help, counter) in self.counters() {
            registry.register(name, help, counter.clone());
        }
        for (name, help, gauge) in self.gauges() {
            registry.register(name, help, gauge.clone());
        }
        registry.register("round_seconds", ROUND_SECONDS_HELP, self.seconds.clone());
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }

    const fn counters(&self) -> [(&'static str, &'static str, &Counter); 3] {
        [
            ("rounds", "Rounds that succeeded", &self.rounds),
            ("errors", "Rounds that failed and are retried", &self.errors),
            ("writes", "Objects written", &self.writes),
        ]
    }

    fn gauges(&self) -> [(&'static str, &'static str, &Gauge); 5] {
        self.behind.set(i64::try_from(self.health.behind().as_secs()).unwrap_or(i64::MAX));
        [
            ("leader", "1 on the leader, the replica that writes", &self.leader),
            ("keys", "Routing keys in the table", &self.keys),
            ("bytes", "Size of the plugin with the table, in bytes", &self.bytes),
            ("refused", "Fragments and settings that are rejected", &self.refused),
            ("behind", "Seconds for which a watch has failed", &self.behind),
        ]
    }
}

/// Starts logging to stderr, and exporting if an endpoint is set.
///
/// # Errors
/// If the endpoint is invalid.
pub(super) fn start(metrics: &Arc<Metrics>, identity: &str) -> anyhow::Result<Telemetry> {
    Telemetry::start("skycap-controller", identity, |meters| observe(metrics, meters))
}

/// Registers the same metrics with the exporter, which reads them at its own interval.
fn observe(metrics: &Arc<Metrics>, meters: &SdkMeterProvider) {
    let meter = meters.meter("skycap");
    for (name, help, counter) in metrics.counters() {
        observe_counter(&meter, format!("{PREFIX}_{name}"), help, counter);
    }
    for (index, (name, help, _)) in metrics.gauges().into_iter().enumerate() {
        let metrics = metrics.clone();
        // Not the gauge itself: one of them is set when they are listed.
        let read = move || metrics.gauges().get(index).map(|(_, _, gauge)| gauge.get());
        observe_gauge(&meter, format!("{PREFIX}_{name}"), help, read);
    }
    let metrics = metrics.clone();
    meter
        .f64_observable_gauge(format!("{PREFIX}_round_seconds"))
        .with_description(ROUND_SECONDS_HELP)
        .with_callback(move |observer| observer.observe(metrics.seconds.get(), &[]))
        .build();
}

const PREFIX: &str = "skycap_controller";
const ROUND_SECONDS_HELP: &str = "Duration of the last round, in seconds";
