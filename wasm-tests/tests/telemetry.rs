//! The controller's spans and metrics, as a real OTLP receiver gets them.

mod kubernetes;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use kubernetes::{Fixture, run, sandbox};
use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    trace::v1::Span,
};
use serde_json::json;
use skycap::istio::PluginKind;
use skycap_tests::cluster::Controller;
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};

/// Keeps what it is sent.
#[derive(Clone, Default)]
struct Receiver {
    spans: Arc<Mutex<Vec<Span>>>,
    metrics: Arc<Mutex<Vec<String>>>,
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes = request.into_inner().resource_spans.into_iter().flat_map(|r| r.scope_spans);
        let mut spans = self.spans.lock().map_err(|_| Status::internal("poisoned"))?;
        spans.extend(scopes.flat_map(|scope| scope.spans));
        Ok(Response::new(<_>::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let metrics = request.into_inner().resource_metrics.into_iter();
        let metrics = metrics.flat_map(|r| r.scope_metrics).flat_map(|scope| scope.metrics);
        let mut names = self.metrics.lock().map_err(|_| Status::internal("poisoned"))?;
        names.extend(metrics.map(|metric| metric.name));
        Ok(Response::new(<_>::default()))
    }
}

impl Receiver {
    async fn serve(&self) -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(self.clone()))
            .add_service(MetricsServiceServer::new(self.clone()));
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        tokio::spawn(server.serve_with_incoming(incoming));
        Ok(address)
    }

    /// The round that wrote the plugin.
    fn round(&self) -> Option<Span> {
        let writes_plugin = |span: &&Span| {
            span.name == "reconcile" && attribute(span, "changed").contains("WasmPlugin")
        };
        self.spans.lock().ok()?.iter().find(writes_plugin).cloned()
    }
}

fn attribute(span: &Span, name: &str) -> String {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == name);
    let value = attribute.and_then(|attribute| attribute.value.clone());
    value.map_or_else(String::new, |value| format!("{:?}", value.value))
}

#[test]
fn a_receiver_gets_rounds_and_metrics() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let receiver = Receiver::default();
        let endpoint = format!("http://{}", receiver.serve().await?);
        let env = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_BSP_SCHEDULE_DELAY", "200"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
        ];
        let controller = Controller::start(&fixture.cluster, "one", &env).await?;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        fixture.has_key("pr-1", true, "a sandbox").await?;
        fixture.until("a span", async |_| Ok(receiver.round().is_some())).await?;
        let Some(span) = receiver.round() else { anyhow::bail!("the span is gone") };
        for name in ["rows", "bytes", "writes"] {
            anyhow::ensure!(attribute(&span, name).contains("IntValue"), "{name}: {span:?}");
        }
        anyhow::ensure!(span.end_time_unix_nano > span.start_time_unix_nano, "{span:?}");
        for wanted in ["skycap_controller_rounds", "skycap_controller_bytes"] {
            fixture
                .until(wanted, async |_| {
                    let names = receiver.metrics.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
                    Ok(names.iter().any(|name| name == wanted))
                })
                .await?;
        }
        anyhow::ensure!(controller.terminate().await?, "an end by SIGTERM is a good one");
        Ok(())
    })
}
