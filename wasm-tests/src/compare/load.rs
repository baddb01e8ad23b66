//! The load: HTTP/2, many streams on few connections.

use std::net::SocketAddr;

use anyhow::ensure;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http2::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::variants::Variant;

/// Connections to one Envoy, which stay open during all rounds.
pub(super) struct Connections(Vec<SendRequest<Empty<Bytes>>>);

impl Connections {
    pub(super) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let mut senders = Vec::new();
        for _ in 0..CONNECTIONS {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let handshake =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
            let (sender, connection) = handshake.await?;
            // The task ends with its connection.
            tokio::spawn(connection);
            senders.push(sender);
        }
        Ok(Self(senders))
    }

    /// Sends this many requests of a variant, and checks every response.
    pub(super) async fn send(&self, variant: &Variant, requests: usize) -> anyhow::Result<()> {
        let request = variant.request()?;
        let streams = self.0.iter().flat_map(|sender| std::iter::repeat_n(sender, STREAMS));
        let share = requests / (CONNECTIONS * STREAMS);
        let tasks: Vec<_> = streams
            .map(|sender| tokio::spawn(stream(sender.clone(), request.clone(), share)))
            .collect();
        for task in tasks {
            task.await??;
        }
        Ok(())
    }
}

async fn stream(
    mut sender: SendRequest<Empty<Bytes>>,
    request: Request<Empty<Bytes>>,
    times: usize,
) -> anyhow::Result<()> {
    for _ in 0..times {
        sender.ready().await?;
        let response = sender.send_request(request.clone()).await?;
        let status = response.status();
        response.into_body().collect().await?;
        // Every route of every variant ends in 200; anything else is a wrong route.
        ensure!(status == 200, "the status is {status}");
    }
    Ok(())
}

const CONNECTIONS: usize = 2;
const STREAMS: usize = 50;
