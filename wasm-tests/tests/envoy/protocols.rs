//! gRPC and WebSocket through a routed hop, and a module that traps, on real Envoys.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use skycap_tests::{
    client,
    envoy::{self, Bootstrap, Envoy, bootstrap::Service},
    fixture::{grpc, module_path, websocket},
};

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

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[tokio::test]
async fn grpc_goes_to_the_sandbox() -> anyhow::Result<()> {
    let endpoints = [grpc::serve(LOCAL, "baseline").await?, grpc::serve(LOCAL, "sandbox").await?];
    let (envoy, _folder) = start(module_path()?, endpoints, true).await?;
    for (baggage, server) in [("a=b", "baseline"), ("a=b,sandbox=pr-1", "sandbox")] {
        let address = envoy.process.listener("80")?;
        let reached = grpc::reaches(server, address, "app.shop", baggage).await?;
        anyhow::ensure!(reached, "`{baggage}` did not reach {server}");
    }
    Ok(())
}

#[tokio::test]
async fn a_websocket_goes_to_the_sandbox() -> anyhow::Result<()> {
    let endpoints =
        [websocket::serve(LOCAL, "baseline").await?, websocket::serve(LOCAL, "sandbox").await?];
    let (envoy, _folder) = start(module_path()?, endpoints, false).await?;
    for (baggage, server) in [("a=b", "baseline"), ("sandbox=pr-1", "sandbox")] {
        let address = envoy.process.listener("80")?;
        let reached = websocket::reaches(server, address, "app.shop", baggage).await?;
        anyhow::ensure!(reached, "`{baggage}` did not reach {server}");
    }
    Ok(())
}

/// Fail-open: a trap costs each worker one request. From then on, its requests pass unchanged.
#[tokio::test]
async fn a_module_that_traps_costs_a_worker_one_request() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let module = folder.path().join("trap.wasm");
    std::fs::write(&module, wat::parse_str(TRAP)?)?;
    let endpoints = [grpc::serve(LOCAL, "baseline").await?, grpc::serve(LOCAL, "sandbox").await?];
    // A gRPC server also answers requests that are not gRPC, always in the same way.
    let mut passed_as = None;
    let (envoy, _folder) = start(module, endpoints, true).await?;
    let mut failed = 0;
    let mut passed = 0;
    for _ in 0..40 {
        let answer =
            client::send(envoy.process.listener("80")?, "app.shop", &hyper::HeaderMap::new())
                .await?;
        match answer.status {
            hyper::StatusCode::SERVICE_UNAVAILABLE => failed += 1,
            status => {
                let first = *passed_as.get_or_insert(status);
                anyhow::ensure!(status == first && !status.is_server_error(), "{status}, {first}");
                passed += 1;
            }
        }
    }
    anyhow::ensure!((1..=2).contains(&failed), "{failed} of 40 requests failed, with two workers");
    println!("{failed} of 40 requests failed, {passed} reached the baseline");
    Ok(())
}

#[tokio::test]
async fn a_module_that_cannot_start_is_an_error() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let module = folder.path().join("broken.wasm");
    let endpoints = [SocketAddr::from(([127, 0, 0, 1], 9)); 2];
    for bytes in [&b"no module"[..], &wat::parse_str("(module (func (export \"main\")))")?] {
        std::fs::write(&module, bytes)?;
        let started = start(module.clone(), endpoints, false).await;
        let said = started.err().map_or_else(String::new, |error| format!("{error:#}"));
        anyhow::ensure!(said.contains("the module did not start"), "`{said}`");
    }
    Ok(())
}

const TRAP: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable))"#;
