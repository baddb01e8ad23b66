//! The same metrics for an OpenTelemetry collector, as the controller exports its own.

use std::sync::Arc;

use opentelemetry::{KeyValue, metrics::MeterProvider as _};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use skycap::telemetry::{Telemetry, observe_counter, observe_gauge};

use crate::metrics::{MESSAGES, Metrics, PREFIX};

/// Starts logging to stderr, and exporting if `OTEL_EXPORTER_OTLP_ENDPOINT` is set.
///
/// # Errors
/// If the endpoint is invalid.
pub fn start(metrics: &Arc<Metrics>, identity: &str) -> anyhow::Result<Telemetry> {
    Telemetry::start("skycap-queue", identity, |meters| observe(metrics, meters))
}

fn observe(metrics: &Arc<Metrics>, meters: &SdkMeterProvider) {
    let meter = meters.meter("skycap");
    let (name, help) = MESSAGES;
    let messages = metrics.clone();
    meter
        .u64_observable_counter(format!("{PREFIX}_{name}"))
        .with_description(help)
        .with_callback(move |observer| {
            for (target, count) in messages.messages() {
                observer.observe(count, &[KeyValue::new("target", target)]);
            }
        })
        .build();
    for (name, help, counter) in metrics.counters() {
        observe_counter(&meter, format!("{PREFIX}_{name}"), help, counter);
    }
    for (name, help, gauge) in metrics.gauges() {
        let gauge = gauge.clone();
        observe_gauge(&meter, format!("{PREFIX}_{name}"), help, move || Some(gauge.get()));
    }
}
