//! The controller's spans and metrics, as an OTLP receiver gets them.

use std::net::Ipv4Addr;

use anyhow::Context as _;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;
use skycap::desired::istio::PluginKind;
use skycap_tests::{
    cluster::Controller,
    fixture::{
        Fixture,
        manifests::sandbox,
        otlp::{Receiver, attribute},
        run,
    },
};

#[test]
fn a_receiver_gets_rounds_and_metrics() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let receiver = Receiver::default();
        let endpoint = format!("http://{}", receiver.serve(Ipv4Addr::LOCALHOST.into()).await?);
        let env = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_BSP_SCHEDULE_DELAY", "200"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
        ];
        let controller = Controller::start(&fixture.cluster, "one", &env).await?;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        fixture.has_key("pr-1", true, "a sandbox").await?;
        fixture.until("a span", async |_| Ok(round(&receiver)?.is_some())).await?;
        let span = round(&receiver)?.context("the span is gone")?;
        for name in ["rows", "bytes", "writes"] {
            anyhow::ensure!(attribute(&span, name).contains("IntValue"), "{name}: {span:?}");
        }
        anyhow::ensure!(span.end_time_unix_nano > span.start_time_unix_nano, "{span:?}");
        for wanted in ["skycap_controller_rounds", "skycap_controller_bytes"] {
            fixture.until(wanted, async |_| receiver.has_metric(wanted)).await?;
        }
        anyhow::ensure!(controller.terminate().await?, "SIGTERM: the exit code is not 0");
        Ok(())
    })
}

/// The span of the round that wrote the plugin.
fn round(receiver: &Receiver) -> anyhow::Result<Option<Span>> {
    let writes_plugin =
        |span: &Span| span.name == "reconcile" && attribute(span, "changed").contains("WasmPlugin");
    Ok(receiver.spans()?.into_iter().find(writes_plugin))
}
