//! The HTTP server of a program in a Pod, the controller or a splitter: `/healthz`, `/readyz` and `/metrics`.

mod listener;

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderValue},
    service::service_fn,
};
use tokio::task::JoinHandle;

pub use self::listener::{Bounds, listen};

/// Serves on `address` until the task is aborted. `check` says why the program is not ready, and `metrics` are
/// in the OpenMetrics format.
///
/// # Errors
/// If the address is in use.
pub async fn start(
    address: SocketAddr,
    bounds: Bounds,
    check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    metrics: impl Fn() -> String + Send + Sync + 'static,
) -> anyhow::Result<JoinHandle<()>> {
    let program = Arc::new((check, metrics));
    let service = service_fn(move |request: Request<_>| {
        let (check, metrics) = &*program;
        let response = answer(request.uri().path(), check, metrics);
        async { Ok::<_, Infallible>(response) }
    });
    listen(address, "--listen", bounds, service).await
}

fn answer(
    path: &str,
    check: impl Fn() -> Result<(), String>,
    metrics: impl Fn() -> String,
) -> Response<Full<Bytes>> {
    let (status, text) = match path {
        "/healthz" => (StatusCode::OK, "ok\n".into()),
        "/readyz" => match check() {
            Ok(()) => (StatusCode::OK, "ok\n".into()),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
        },
        "/metrics" => (StatusCode::OK, metrics()),
        _ => (StatusCode::NOT_FOUND, "not found: expected /healthz, /readyz or /metrics\n".into()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    if path == "/metrics" {
        let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(openmetrics));
    }
    response
}
