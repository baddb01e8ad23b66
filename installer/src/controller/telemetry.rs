//! Logs, traces and metrics of the controller.
//!
//! | metric | kind | meaning |
//! |---|---|---|
//! | `skycap_controller_rounds` | counter | rounds that went well |
//! | `skycap_controller_errors` | counter | rounds that failed and are tried again |
//! | `skycap_controller_writes` | counter | objects written |
//! | `skycap_controller_leader` | gauge | 1 on the replica that writes |
//! | `skycap_controller_keys` | gauge | keys in the table |
//! | `skycap_controller_bytes` | gauge | bytes of the plugin with the table |
//! | `skycap_controller_refused` | gauge | fragments and settings that are refused |
//! | `skycap_controller_round_seconds` | gauge | how long the last round took |
//!
//! `/metrics` serves them in OpenMetrics. Where `OTEL_EXPORTER_OTLP_ENDPOINT` is set they go there
//! too, and with them a span for each round; the other variables of OpenTelemetry's specification
//! ("OTLP exporter") hold as well.

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
    EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{problem::Severity, table::compile::Compilation};

/// The controller's figures.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    pub(super) rounds: Counter,
    pub(super) errors: Counter,
    pub(super) writes: Counter,
    pub(super) leader: Gauge,
    pub(super) keys: Gauge,
    pub(super) bytes: Gauge,
    pub(super) refused: Gauge,
    pub(super) seconds: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// A round that went well.
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

    /// The text of OpenMetrics.
    pub(super) fn text(&self) -> String {
        let mut registry = Registry::with_prefix(PREFIX);
        for (name, help, counter) in self.counters() {
            registry.register(name, help, counter.clone());
        }
        for (name, help, gauge) in self.gauges() {
            registry.register(name, help, gauge.clone());
        }
        registry.register("round_seconds", "How long the last round took", self.seconds.clone());
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &registry);
        text
    }

    const fn counters(&self) -> [(&'static str, &'static str, &Counter); 3] {
        [
            ("rounds", "Rounds that went well", &self.rounds),
            ("errors", "Rounds that failed and are tried again", &self.errors),
            ("writes", "Objects written", &self.writes),
        ]
    }

    const fn gauges(&self) -> [(&'static str, &'static str, &Gauge); 4] {
        [
            ("leader", "1 on the replica that writes", &self.leader),
            ("keys", "Keys in the table", &self.keys),
            ("bytes", "Bytes of the plugin with the table", &self.bytes),
            ("refused", "Fragments and settings that are refused", &self.refused),
        ]
    }
}

/// What exports spans and metrics; nothing where no endpoint is set.
pub(super) struct Telemetry(Option<(SdkTracerProvider, SdkMeterProvider)>);

/// Starts logging to stderr, and exporting where an endpoint is set.
///
/// # Errors
/// When the endpoint is none.
pub(super) fn start(metrics: &Arc<Metrics>, identity: &str) -> anyhow::Result<Telemetry> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .with_filter(filter);
    let endpoint = std::env::var(ENDPOINT).is_ok_and(|endpoint| !endpoint.is_empty());
    if !endpoint {
        tracing_subscriber::registry().with(log).try_init().context("cannot log")?;
        return Ok(Telemetry(None));
    }
    let wrong = || format!("cannot export to what {ENDPOINT} names");
    let resource = Resource::builder()
        .with_service_name("skycap-controller")
        .with_attribute(KeyValue::new("service.instance.id", identity.to_owned()))
        .build();
    let spans = SpanExporter::builder().with_tonic().build().with_context(wrong)?;
    let spans = SdkTracerProvider::builder()
        .with_batch_exporter(spans)
        .with_resource(resource.clone())
        .build();
    let exporter = MetricExporter::builder().with_tonic().build().with_context(wrong)?;
    let meters = SdkMeterProvider::builder()
        .with_periodic_exporter(exporter)
        .with_resource(resource)
        .build();
    observe(metrics, &meters);
    let only_ours =
        tracing_subscriber::filter::filter_fn(|metadata| metadata.target().starts_with("skycap"));
    let layer =
        tracing_opentelemetry::layer().with_tracer(spans.tracer("skycap")).with_filter(only_ours);
    tracing_subscriber::registry().with(log).with(layer).try_init().context("cannot log")?;
    Ok(Telemetry(Some((spans, meters))))
}

/// The same figures for the exporter, which asks for them when it is time.
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
        .with_callback(move |observer| observer.observe(metrics.seconds.get(), &[]))
        .build();
}

impl Telemetry {
    /// Sends what is left.
    pub(super) fn shutdown(self) {
        let Some((spans, meters)) = self.0 else { return };
        let results = [spans.shutdown(), meters.shutdown()];
        for error in results.into_iter().filter_map(Result::err) {
            tracing::warn!(error = %error, "cannot export what is left");
        }
    }
}

const PREFIX: &str = "skycap_controller";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
