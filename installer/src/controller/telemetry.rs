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

use anyhow::Context as _;
use opentelemetry::{KeyValue, metrics::MeterProvider as _, trace::TracerProvider as _};
use opentelemetry_otlp::{MetricExporter, SpanExporter};
use opentelemetry_sdk::{Resource, metrics::SdkMeterProvider, trace::SdkTracerProvider};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::filter_fn, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use super::health::Health;
use crate::{problem::Severity, table::compile::Compilation};

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

/// The exporters of spans and metrics; `None` if no endpoint is set.
pub(super) struct Telemetry(Option<(SdkTracerProvider, SdkMeterProvider)>);

/// Starts logging to stderr, and exporting if an endpoint is set.
///
/// # Errors
/// If the endpoint is invalid.
pub(super) fn start(metrics: &Arc<Metrics>, identity: &str) -> anyhow::Result<Telemetry> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .with_filter(filter);
    let registry = tracing_subscriber::registry().with(log);
    let has_endpoint = std::env::var(ENDPOINT).is_ok_and(|endpoint| !endpoint.is_empty());
    if !has_endpoint {
        registry.try_init().context("cannot start logging")?;
        return Ok(Telemetry(None));
    }
    let (spans, meters) = exporters(identity).with_context(|| {
        format!("cannot export metrics and spans; check the value of {ENDPOINT}")
    })?;
    observe(metrics, &meters);
    let is_own = filter_fn(|metadata| metadata.target().starts_with("skycap"));
    let layer =
        tracing_opentelemetry::layer().with_tracer(spans.tracer("skycap")).with_filter(is_own);
    registry.with(layer).try_init().context("cannot start logging")?;
    Ok(Telemetry(Some((spans, meters))))
}

fn exporters(identity: &str) -> anyhow::Result<(SdkTracerProvider, SdkMeterProvider)> {
    let resource = Resource::builder()
        .with_service_name("skycap-controller")
        .with_attribute(KeyValue::new("service.instance.id", identity.to_owned()))
        .build();
    let spans = SdkTracerProvider::builder()
        .with_batch_exporter(SpanExporter::builder().with_tonic().build()?)
        .with_resource(resource.clone())
        .build();
    let meters = SdkMeterProvider::builder()
        .with_periodic_exporter(MetricExporter::builder().with_tonic().build()?)
        .with_resource(resource)
        .build();
    Ok((spans, meters))
}

/// Registers the same metrics with the exporter, which reads them at its own interval.
fn observe(metrics: &Arc<Metrics>, meters: &SdkMeterProvider) {
    let meter = meters.meter("skycap");
    for (index, (name, help, _)) in metrics.counters().into_iter().enumerate() {
        let metrics = metrics.clone();
        let builder = meter.u64_observable_counter(format!("{PREFIX}_{name}"));
        builder
            .with_description(help)
            .with_callback(move |observer| {
                if let Some((_, _, counter)) = metrics.counters().get(index) {
                    observer.observe(counter.get(), &[]);
                }
            })
            .build();
    }
    for (index, (name, help, _)) in metrics.gauges().into_iter().enumerate() {
        let metrics = metrics.clone();
        let builder = meter.i64_observable_gauge(format!("{PREFIX}_{name}"));
        builder
            .with_description(help)
            .with_callback(move |observer| {
                if let Some((_, _, gauge)) = metrics.gauges().get(index) {
                    observer.observe(gauge.get(), &[]);
                }
            })
            .build();
    }
    let metrics = metrics.clone();
    meter
        .f64_observable_gauge(format!("{PREFIX}_round_seconds"))
        .with_description(ROUND_SECONDS_HELP)
        .with_callback(move |observer| observer.observe(metrics.seconds.get(), &[]))
        .build();
}

impl Telemetry {
    /// Exports the remaining spans and metrics.
    pub(super) fn shutdown(self) {
        let Some((spans, meters)) = self.0 else { return };
        let results = [spans.shutdown(), meters.shutdown()];
        for error in results.into_iter().filter_map(Result::err) {
            tracing::warn!(error = %error, "cannot export the last metrics and spans");
        }
    }
}

const PREFIX: &str = "skycap_controller";
const ROUND_SECONDS_HELP: &str = "Duration of the last round, in seconds";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
