//! Latency as a user notices it: HTTP/1.1, to an upstream, at a fixed rate.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::{Request, Response, body::Bytes, client::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::{Measured, Row, variants};
use crate::{
    envoy::{Bootstrap, Envoy, bootstrap::Service},
    module,
    progress::Progress,
};

/// An Envoy under load, and what was measured on it.
struct Subject {
    name: &'static str,
    envoy: Envoy,
    baggage: String,
    times: Vec<Duration>,
}

/// p50 and p99 of a request through Envoy to an upstream, at a fixed rate.
///
/// # Errors
/// If an Envoy does not start, or if a request gets no response with status 200.
pub async fn latencies(envoy: &Path, rounds: usize, folder: &Path) -> anyhow::Result<Measured> {
    let mut subjects = start(envoy, folder).await?;
    let _progress = Progress::new(&format!("measuring latency in {rounds} rounds"));
    for _ in 0..rounds {
        for Subject { name, envoy, baggage, times } in &mut subjects {
            let address = envoy.process.listener("80")?;
            let round = requests(address, baggage).await;
            times.extend(round.with_context(|| (*name).to_owned())?);
        }
    }
    let rows = subjects.into_iter().map(|Subject { name, mut times, .. }| {
        times.sort_unstable();
        let at = |percent: usize| {
            let time = times.get(times.len() * percent / 100).copied().unwrap_or_default();
            format!("{}", time.as_micros())
        };
        Row { name: name.into(), values: vec![at(50), at(99), times.len().to_string()] }
    });
    Ok(Measured {
        title: format!(
            "Latency in us, HTTP/1.1 through an upstream, {} requests a second on {CONNECTIONS} \
             connections (client and upstream share the machine)",
            CONNECTIONS as u128 * 1000 / INTERVAL.as_millis()
        ),
        columns: vec!["variant", "p50", "p99", "requests"],
        rows: rows.collect(),
    })
}

async fn start(envoy: &Path, folder: &Path) -> anyhow::Result<Vec<Subject>> {
    let endpoint = upstream().await?;
    let modules = [None, Some(module::build_null_sdk()?), Some(module::build()?)];
    let foreign = variants::foreign_baggage();
    let mut subjects = Vec::new();
    for (name, module, rows, baggage) in [
        ("no filter", 0, 0, ""),
        ("null filter, Rust SDK", 1, 0, ""),
        ("skycap, no baggage", 2, 10, ""),
        ("skycap, foreign baggage", 2, 10, &foreign),
        ("skycap, 10 rows, routed", 2, 10, "sandbox=pr-9"),
        ("skycap, 100000 rows, routed", 2, 100_000, "sandbox=pr-9"),
    ] {
        let service = |name: &str| Service { name: name.into(), port: 80, endpoint, http2: false };
        let bootstrap = Bootstrap {
            node: "compare.shop".into(),
            module: modules.get(module).cloned().flatten(),
            services: vec![service("cart"), service("cart-pr-9")],
            workers: 1,
            dispatch_route: true,
        };
        let table = variants::table("cluster-header", rows);
        let place = folder.join(format!("latency-{}", subjects.len()));
        let envoy = Envoy::start(envoy, bootstrap, &table, &place).await?;
        subjects.push(Subject { name, envoy, baggage: baggage.to_owned(), times: Vec::new() });
    }
    Ok(subjects)
}

/// Half a second of requests at the fixed rate. Returns how long each one took.
async fn requests(address: SocketAddr, baggage: &str) -> anyhow::Result<Vec<Duration>> {
    let connections =
        (0..CONNECTIONS).map(|_| tokio::spawn(connection(address, baggage.to_owned())));
    let mut times = Vec::new();
    for connection in connections.collect::<Vec<_>>() {
        times.extend(connection.await??);
    }
    Ok(times)
}

async fn connection(address: SocketAddr, baggage: String) -> anyhow::Result<Vec<Duration>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut clock = tokio::time::interval(INTERVAL);
    let mut times = Vec::new();
    for number in 0..REQUESTS {
        clock.tick().await;
        let mut request = Request::get("/").header("host", "cart.shop");
        if !baggage.is_empty() {
            request = request.header("baggage", &baggage);
        }
        let start = Instant::now();
        let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        ensure!(response.status() == 200, "the status is {}", response.status());
        response.into_body().collect().await?;
        // The first two find no connection behind Envoy yet.
        if number >= 2 {
            times.push(start.elapsed());
        }
    }
    connection.abort();
    Ok(times)
}

async fn upstream() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let service = service_fn(|_| async {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
            });
            let server = hyper::server::conn::http1::Builder::new();
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(address)
}

const CONNECTIONS: usize = 8;
const INTERVAL: Duration = Duration::from_millis(16);
const REQUESTS: usize = 32;
