//! The HTTP server of the controller: `/healthz`, `/readyz` and `/metrics`.

pub(super) mod listener;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Bytes, service::service_fn};
use tokio::task::JoinHandle;

use self::listener::{Bounds, listen};
use super::{health::Health, telemetry::Metrics};

/// Serves on `address` until the task is aborted.
///
/// # Errors
/// If the address is in use.
pub(super) async fn start(
    address: SocketAddr,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
) -> anyhow::Result<JoinHandle<()>> {
    let service = service_fn(move |request: Request<_>| {
        let response = answer(request.uri().path(), &health, &metrics);
        async { Ok::<_, Infallible>(response) }
    });
    listen(address, "--listen", BOUNDS, service).await
}

fn answer(path: &str, health: &Health, metrics: &Metrics) -> Response<Full<Bytes>> {
    let (status, text) = match path {
        "/healthz" => (StatusCode::OK, "ok\n".into()),
        "/readyz" => match health.check() {
            Ok(()) => (StatusCode::OK, "ok\n".into()),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
        },
        "/metrics" => (StatusCode::OK, metrics.text()),
        _ => (StatusCode::NOT_FOUND, "not found: expected /healthz, /readyz or /metrics\n".into()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    if path == "/metrics" {
        let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        response
            .headers_mut()
            .insert("content-type", hyper::header::HeaderValue::from_static(openmetrics));
    }
    response
}

/// A few scrapers and the kubelet.
const BOUNDS: Bounds = Bounds { connections: 32, last_response: Duration::from_secs(5) };
