//! gRPC and WebSocket through a routed hop, and a module that traps, on real Envoys.

use std::{net::SocketAddr, path::PathBuf};

use futures_util::{SinkExt as _, StreamExt as _};
use skycap_tests::{
    client,
    envoy::{self, Bootstrap, Envoy, bootstrap::Service},
    module,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};
use tonic::{metadata::MetadataValue, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const TABLE: &str = r#"{"version":"1.0","carriers":[{"baggage":"sandbox"}],
    "routes":[{"service":"app.shop","to":"app-{key}"}],"keys":"pr-1:0"}"#;

/// An Envoy in front of `app` and `app-pr-1`.
async fn start(
    module: PathBuf,
    endpoints: [SocketAddr; 2],
    http2: bool,
) -> anyhow::Result<(Envoy, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    let services = ["app", "app-pr-1"].into_iter().zip(endpoints).map(|(name, endpoint)| Service {
        name: name.into(),
        port: 80,
        endpoint,
        http2,
    });
    let bootstrap = Bootstrap {
        node: "client.shop".into(),
        module: Some(module),
        services: services.collect(),
        workers: 2,
        dispatch_route: true,
    };
    let envoy = Envoy::start(&envoy::obtain()?, bootstrap, TABLE, &folder.path().join("e")).await?;
    Ok((envoy, folder))
}

/// A gRPC health server that is in good health as `name`, and knows nobody else.
async fn grpc_server(name: &'static str) -> anyhow::Result<SocketAddr> {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status(name, tonic_health::ServingStatus::Serving).await;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(incoming));
    Ok(address)
}

#[tokio::test]
async fn grpc_goes_to_the_sandbox() -> anyhow::Result<()> {
    let endpoints = [grpc_server("baseline").await?, grpc_server("sandbox").await?];
    let (envoy, _folder) = start(module::build()?, endpoints, true).await?;
    let channel = Endpoint::from_shared(format!("http://{}", envoy.process.listener("80")?))?
        .origin("http://app.shop".parse()?)
        .connect()
        .await?;
    for (baggage, who) in [("a=b", "baseline"), ("a=b,sandbox=pr-1", "sandbox")] {
        let mut client = HealthClient::new(channel.clone());
        let mut request = tonic::Request::new(HealthCheckRequest { service: who.into() });
        request.metadata_mut().insert("baggage", MetadataValue::try_from(baggage)?);
        let answer = client.check(request).await;
        anyhow::ensure!(answer.is_ok(), "`{baggage}` did not come to {who}: {answer:?}");
    }
    Ok(())
}

/// A WebSocket server that answers each message with its name.
async fn websocket_server(name: &'static str) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut socket = tokio_tungstenite::accept_async(stream).await?;
                while let Some(Ok(Message::Text(_))) = socket.next().await {
                    socket.send(Message::text(name)).await?;
                }
                anyhow::Ok(())
            });
        }
    });
    Ok(address)
}

#[tokio::test]
async fn a_websocket_goes_to_the_sandbox() -> anyhow::Result<()> {
    let endpoints = [websocket_server("baseline").await?, websocket_server("sandbox").await?];
    let (envoy, _folder) = start(module::build()?, endpoints, false).await?;
    for (baggage, who) in [("a=b", "baseline"), ("sandbox=pr-1", "sandbox")] {
        let mut request = "ws://app.shop/".into_client_request()?;
        request.headers_mut().insert("baggage", baggage.parse()?);
        let stream = TcpStream::connect(envoy.process.listener("80")?).await?;
        let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        for _ in 0..2 {
            socket.send(Message::text("who?")).await?;
            let answer = socket.next().await.transpose()?;
            anyhow::ensure!(answer == Some(Message::text(who)), "`{baggage}`: {answer:?}");
        }
    }
    Ok(())
}

/// Fail-open: what a worker pays for a trap is one request; from then on all of them pass by.
#[tokio::test]
async fn a_module_that_traps_costs_a_worker_one_request() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let module = folder.path().join("trap.wasm");
    std::fs::write(&module, wat::parse_str(TRAP)?)?;
    let endpoints = [grpc_server("baseline").await?, grpc_server("sandbox").await?];
    // An HTTP/1.1 request to a gRPC server has an answer too, and that is all it takes.
    let (envoy, _folder) = start(module, endpoints, true).await?;
    let mut refused = 0;
    let mut passed = 0;
    for _ in 0..40 {
        let answer =
            client::send(envoy.process.listener("80")?, "app.shop", &hyper::HeaderMap::new())
                .await?;
        match answer.status.as_u16() {
            503 => refused += 1,
            _ => passed += 1,
        }
    }
    anyhow::ensure!((1..=2).contains(&refused), "{refused} of 40 refused, with two workers");
    anyhow::ensure!(passed == 40 - refused, "{passed} passed");
    Ok(())
}

#[tokio::test]
async fn a_module_that_cannot_start_says_so() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let module = folder.path().join("broken.wasm");
    let endpoints = [SocketAddr::from(([127, 0, 0, 1], 9)); 2];
    for bytes in [&b"no module"[..], &wat::parse_str("(module (func (export \"main\")))")?] {
        std::fs::write(&module, bytes)?;
        let started = start(module.clone(), endpoints, false).await;
        let said = started.err().map_or_else(String::new, |error| format!("{error:#}"));
        anyhow::ensure!(said.contains("module does not start"), "`{said}`");
    }
    Ok(())
}

const TRAP: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable))"#;
