//! A connection to a Pod in one version of HTTP.

use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::DuplexStream;

/// How a connection to a Pod is opened.
pub(super) trait Connect: Send + Sync + 'static {
    /// Opens a connection.
    fn connect(&self) -> impl Future<Output = anyhow::Result<Connection>> + Send;
}

/// An open connection to a Pod.
pub(super) struct Connection {
    pub(super) stream: DuplexStream,
    /// The Pod and its port, such as `frontend-7d4f:8080`.
    pub(super) peer: String,
    /// What the kubelet reports if it cannot reach the port.
    pub(super) failure: Arc<OnceLock<String>>,
}

/// A connection to a Pod that speaks HTTP.
pub(super) struct Upstream {
    sender: Sender,
    peer: Arc<Peer>,
}

/// The Pod, and what the kubelet reports about it.
struct Peer {
    name: String,
    failure: Arc<OnceLock<String>>,
}

enum Sender {
    Http1(http1::SendRequest<Incoming>),
    Http2(http2::SendRequest<Incoming>),
}

/// Why a request has no answer.
pub(super) enum Unanswered {
    /// The connection was closed before any part of the request was sent.
    Unsent(Box<Request<Incoming>>),
    /// The connection failed.
    Failed(anyhow::Error),
}

impl Upstream {
    /// Connects to a ready Pod.
    pub(super) async fn connect(pods: &impl Connect, is_http2: bool) -> anyhow::Result<Self> {
        let Connection { stream, peer, failure } = pods.connect().await?;
        let stream = TokioIo::new(stream);
        let failed = || format!("Pod {peer} does not speak HTTP");
        let sender = if is_http2 {
            let executor = TokioExecutor::new();
            let (sender, connection) =
                http2::handshake(executor, stream).await.with_context(failed)?;
            tokio::spawn(connection);
            Sender::Http2(sender)
        } else {
            let handshake = http1::Builder::new().preserve_header_case(true).handshake(stream);
            let (sender, connection) = handshake.await.with_context(failed)?;
            tokio::spawn(connection.with_upgrades());
            Sender::Http1(sender)
        };
        Ok(Self { sender, peer: Arc::new(Peer { name: peer, failure }) })
    }

    /// Waits until it can take a request; `false` if it is closed.
    pub(super) async fn is_ready(&mut self) -> bool {
        match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await.is_ok(),
            Sender::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// A second handle of the connection, if it can carry several requests at once.
    pub(super) fn share(&self) -> Option<Self> {
        let Sender::Http2(sender) = &self.sender else { return None };
        Some(Self { sender: Sender::Http2(sender.clone()), peer: Arc::clone(&self.peer) })
    }

    /// Sends a request, and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Incoming>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let answer = match &mut self.sender {
            Sender::Http1(sender) => sender.try_send_request(request).await,
            Sender::Http2(sender) => sender.try_send_request(request).await,
        };
        answer.map_err(|error| self.unanswered(error))
    }

    fn unanswered(&self, mut error: TrySendError<Request<Incoming>>) -> Unanswered {
        let Peer { name, failure } = &*self.peer;
        if let Some(failure) = failure.get() {
            let why = anyhow::anyhow!("cannot reach Pod {name}: {}", failure.trim());
            return Unanswered::Failed(why);
        }
        match error.take_message() {
            Some(request) => Unanswered::Unsent(Box::new(request)),
            None => {
                let error = anyhow::Error::from(error.into_error());
                Unanswered::Failed(error.context(format!("no answer from Pod {name}")))
            }
        }
    }
}
