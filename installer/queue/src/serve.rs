//! The HTTP server of a splitter: `/healthz`, `/readyz` and `/metrics`.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle, time::timeout};

use crate::{health::Health, metrics::Metrics};

/// Serves on `listen` until the task is aborted.
///
/// # Errors
/// If the address is in use.
pub async fn start(
    listen: SocketAddr,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
) -> anyhow::Result<JoinHandle<()>> {
    let listener = TcpListener::bind(listen).await.with_context(|| {
        format!("cannot listen on `{listen}`; choose another address with --listen")
    })?;
    Ok(tokio::spawn(async move {
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            // Without a permit, clients wait in the backlog of the listener.
            let Ok(permit) = connections.clone().acquire_owned().await else { return };
            let Ok((stream, _)) = listener.accept().await else {
                // Such as too many open files, which lasts for a while.
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let (health, metrics) = (health.clone(), metrics.clone());
            let service = service_fn(move |request: Request<_>| {
                let response = answer(request.uri().path(), &health, &metrics);
                async { Ok::<_, Infallible>(response) }
            });
            tokio::spawn(async move {
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIME)
                    .serve_connection(TokioIo::new(stream), service);
                // An error or a timeout concerns only this client, which may just have disconnected.
                let _ = timeout(CONNECTION_TIME, connection).await;
                drop(permit);
            });
        }
    }))
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
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(openmetrics));
    }
    response
}

/// How many clients are served at once: a few scrapers and the kubelet.
const CONNECTIONS: usize = 32;
/// How long a client may take for the headers of a request.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// How long a connection lives. A scraper that keeps one open opens another.
const CONNECTION_TIME: Duration = Duration::from_secs(60);
/// How long the server waits after it could not accept a connection.
const PAUSE: Duration = Duration::from_millis(100);
