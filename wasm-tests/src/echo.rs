//! A workload that responds with its own name and the Host of the request.

use std::{convert::Infallible, net::SocketAddr};

use http_body_util::Full;
use hyper::{Request, Response, body::Bytes, header::HOST, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{net::TcpListener, task::JoinHandle};

/// A running workload. It stops when it is dropped.
#[derive(Debug)]
pub struct Echo {
    /// The port, on all addresses of the machine.
    pub port: u16,
    task: JoinHandle<()>,
}

impl Echo {
    /// Starts a workload with this name.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start(name: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], 0))).await?;
        let port = listener.local_addr()?.port();
        Ok(Self { port, task: tokio::spawn(serve(listener, name.to_owned())) })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, name: String) {
    while let Ok((stream, _)) = listener.accept().await {
        let name = name.clone();
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
            let answer = format!("{name} {}", host.unwrap_or_default());
            async move { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(answer))) }
        });
        tokio::spawn(async move {
            // An error here means that the client closed the connection.
            drop(
                auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}
