//! Accepts connections of HTTP, a bounded number at once, each for a bounded time.

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use anyhow::Context as _;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::Service,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// The bounds of a server.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How many clients are served at once. Without a permit, clients wait in the backlog.
    pub connections: usize,
    /// How long a connection lives, until its response to the last request. A client that keeps one open
    /// opens another.
    pub connection: Duration,
    /// How long the last response of a connection may take.
    pub last_response: Duration,
}

/// Serves on `listen` until the task is aborted; `flag` chooses the address.
///
/// # Errors
/// If the address is in use.
pub async fn listen<S>(
    listen: SocketAddr,
    flag: &str,
    bounds: Bounds,
    service: S,
) -> anyhow::Result<JoinHandle<()>>
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let listener = TcpListener::bind(listen).await.with_context(|| {
        format!("cannot listen on `{listen}`; choose another address with {flag}")
    })?;
    Ok(tokio::spawn(async move {
        let connections = Arc::new(Semaphore::new(bounds.connections));
        loop {
            let Ok(permit) = connections.clone().acquire_owned().await else { return };
            let Ok((stream, _)) = listener.accept().await else {
                // Such as too many open files, which lasts for a while.
                sleep(PAUSE).await;
                continue;
            };
            let service = service.clone();
            tokio::spawn(async move {
                serve(stream, bounds, service).await;
                drop(permit);
            });
        }
    }))
}

/// Serves one connection. An error or a timeout concerns only this client, which may just have
/// disconnected.
async fn serve<S>(stream: TcpStream, bounds: Bounds, service: S)
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_headers(64)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    if timeout(bounds.connection, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(bounds.last_response, connection).await;
    }
}

/// How long a client may take for the headers of a request.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// How long to wait after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);
