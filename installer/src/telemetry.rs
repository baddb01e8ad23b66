//! Logs to stderr, and metrics and spans for an OpenTelemetry collector.

use anyhow::Context as _;
use opentelemetry::{KeyValue, metrics::Meter, trace::TracerProvider as _};
use opentelemetry_otlp::{MetricExporter, SpanExporter};
use opentelemetry_sdk::{Resource, metrics::SdkMeterProvider, trace::SdkTracerProvider};
use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::filter_fn, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// The exporters of spans and metrics; `None` if no endpoint is set.
pub struct Telemetry(Option<(SdkTracerProvider, SdkMeterProvider)>);

impl Telemetry {
    /// Starts logging to stderr. If `OTEL_EXPORTER_OTLP_ENDPOINT` is set, starts exporting for `service`,
    /// whose instance is `identity`, with the metrics that `observe` registers.
    ///
    /// # Errors
    /// If the endpoint is invalid.
    pub fn start(
        service: &'static str,
        identity: &str,
        observe: impl FnOnce(&SdkMeterProvider),
    ) -> anyhow::Result<Self> {
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
            return Ok(Self(None));
        }
        let (spans, meters) = exporters(service, identity).with_context(|| {
            format!("cannot export metrics and spans; check the value of {ENDPOINT}")
        })?;
        observe(&meters);
        let is_own = filter_fn(|metadata| metadata.target().starts_with("skycap"));
        let layer =
            tracing_opentelemetry::layer().with_tracer(spans.tracer("skycap")).with_filter(is_own);
        registry.with(layer).try_init().context("cannot start logging")?;
        Ok(Self(Some((spans, meters))))
    }

    /// Exports the remaining spans and metrics.
    pub fn shutdown(self) {
        let Some((spans, meters)) = self.0 else { return };
        let results = [spans.shutdown(), meters.shutdown()];
        for error in results.into_iter().filter_map(Result::err) {
            tracing::warn!(error = %error, "cannot export the last metrics and spans");
        }
    }
}

/// Registers a counter with the exporter, which reads it at its own interval.
pub fn observe_counter(meter: &Meter, name: String, help: &'static str, counter: &Counter) {
    let counter = counter.clone();
    meter
        .u64_observable_counter(name)
        .with_description(help)
        .with_callback(move |observer| observer.observe(counter.get(), &[]))
        .build();
}

/// Registers a gauge with the exporter, which reads it at its own interval.
pub fn observe_gauge(
    meter: &Meter,
    name: String,
    help: &'static str,
    read: impl Fn() -> Option<i64> + Send + Sync + 'static,
) {
    meter
        .i64_observable_gauge(name)
        .with_description(help)
        .with_callback(move |observer| {
            if let Some(value) = read() {
                observer.observe(value, &[]);
            }
        })
        .build();
}

fn exporters(
    service: &'static str,
    identity: &str,
) -> anyhow::Result<(SdkTracerProvider, SdkMeterProvider)> {
    let resource = Resource::builder()
        .with_service_name(service)
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

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
