//! gRPC and WebSocket: servers that say who they are, and clients that ask.

use std::net::{IpAddr, SocketAddr};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};
use tonic::{metadata::MetadataValue, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// A gRPC health server that is in good health as `name`, and knows nobody else.
pub(crate) async fn grpc_server(ip: IpAddr, name: &str) -> anyhow::Result<SocketAddr> {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status(name, tonic_health::ServingStatus::Serving).await;
    let listener = TcpListener::bind((ip, 0)).await?;
    let address = listener.local_addr()?;
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(incoming));
    Ok(address)
}

/// Whether the health server of this name answers for `host`, with this baggage.
pub(crate) async fn grpc_is_answered_by(
    name: &str,
    address: SocketAddr,
    host: &str,
    baggage: &str,
) -> anyhow::Result<bool> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?
        .origin(format!("http://{host}").parse()?)
        .connect()
        .await?;
    let mut request = tonic::Request::new(HealthCheckRequest { service: name.into() });
    request.metadata_mut().insert("baggage", MetadataValue::try_from(baggage)?);
    Ok(HealthClient::new(channel).check(request).await.is_ok())
}

/// A WebSocket server that answers each message with its name.
pub(crate) async fn websocket_server(ip: IpAddr, name: &str) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((ip, 0)).await?;
    let address = listener.local_addr()?;
    let name = name.to_owned();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let name = name.clone();
            tokio::spawn(async move {
                let mut socket = tokio_tungstenite::accept_async(stream).await?;
                while let Some(Ok(Message::Text(_))) = socket.next().await {
                    socket.send(Message::text(name.clone())).await?;
                }
                anyhow::Ok(())
            });
        }
    });
    Ok(address)
}

/// Who answers two messages on one WebSocket to `host`, with this baggage.
pub(crate) async fn websocket_is_answered_by(
    name: &str,
    address: SocketAddr,
    host: &str,
    baggage: &str,
) -> anyhow::Result<bool> {
    let mut request = format!("ws://{host}/").into_client_request()?;
    request.headers_mut().insert("baggage", baggage.parse()?);
    let stream = TcpStream::connect(address).await?;
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await?;
    for _ in 0..2 {
        socket.send(Message::text("who?")).await?;
        if socket.next().await.transpose()? != Some(Message::text(name)) {
            return Ok(false);
        }
    }
    Ok(true)
}
