//! A shop of three services, which knows nothing of skycap: frontend calls cart, cart calls pricing.
//!
//! Each workload is a server in this process that propagates `baggage` as an OpenTelemetry service
//! does, by the SDK's own propagator (which reads the first `baggage` line only), and each has an
//! Envoy of its own for its calls. One more Envoy is the gateway through which requests come in.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    sync::{Arc, OnceLock},
};

use anyhow::Context as _;
use http_body_util::Full;
use hyper::{HeaderMap, Request, Response, StatusCode, body::Bytes, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry_sdk::propagation::BaggagePropagator;
use serde::{Deserialize, Serialize};
use skycap_core::dispatch::{DECISION_HEADER, EXPLAIN_HEADER, SANDBOX_HEADER};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    client,
    envoy::{Bootstrap, Envoy, bootstrap::Service},
};

/// A shop that runs, until it is dropped.
#[derive(Debug)]
pub struct Shop {
    servers: Vec<Server>,
    /// The gateway first, then the sidecar of each workload.
    envoys: Vec<Envoy>,
}

/// What the shop answers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Visit {
    /// The workloads that the request came by, in order.
    pub path: Vec<String>,
    /// The Host that each of them saw.
    pub hosts: Vec<String>,
    /// The key in `x-skycap-sandbox` that each of them saw, empty for none.
    pub keys: Vec<String>,
}

impl Shop {
    /// Starts a shop with these workloads. A workload's role is the part before the first `-`:
    /// `cart-pr-1` is a cart.
    ///
    /// # Errors
    /// When a port or an Envoy is not to be had.
    pub async fn open(
        workloads: &[&str],
        envoy: &Path,
        module: &Path,
        plugin_config: &str,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let mut servers = Vec::new();
        for name in workloads {
            servers.push(Server::start(name).await?);
        }
        let services: Vec<_> = servers.iter().map(Server::service).collect();
        let sidecars = ["gateway"].iter().chain(workloads).map(|name| {
            let bootstrap = Bootstrap {
                node: format!("{name}.shop"),
                module: Some(module.into()),
                services: services.clone(),
                workers: 1,
                dispatch_route: true,
            };
            let folder = folder.join(name);
            async move { Envoy::start(envoy, bootstrap, plugin_config, &folder).await }
        });
        let mut envoys = Vec::new();
        for envoy in futures_util::future::join_all(sidecars).await {
            envoys.push(envoy?);
        }
        for (server, envoy) in servers.iter().zip(envoys.iter().skip(1)) {
            // It is set once, here.
            let _ = server.sidecar.set(envoy.process.listener(PORT_NAME)?);
        }
        Ok(Self { servers, envoys })
    }

    /// Where requests come in.
    ///
    /// # Errors
    /// When the gateway has no listener.
    pub fn gateway(&self) -> anyhow::Result<SocketAddr> {
        self.envoys.first().context("a shop has a gateway")?.process.listener(PORT_NAME)
    }

    /// Sends a request to the frontend, by the gateway.
    ///
    /// # Errors
    /// When there is no answer, or none of status 200.
    pub async fn visit(&self, headers: &HeaderMap) -> anyhow::Result<(Visit, HeaderMap)> {
        visit(self.gateway()?, headers).await
    }

    /// Pushes a table to every Envoy, and waits until all have taken it.
    ///
    /// # Errors
    /// When one refuses it.
    pub async fn push(&mut self, plugin_config: &str) -> anyhow::Result<()> {
        let pushes = self.envoys.iter_mut().map(|envoy| envoy.push(plugin_config));
        for taken in futures_util::future::join_all(pushes).await {
            anyhow::ensure!(taken?, "an Envoy refused the table: {plugin_config}");
        }
        Ok(())
    }

    /// The workloads as Services of port 80.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        self.servers.iter().map(Server::service).collect()
    }

    /// How many workloads there are.
    #[must_use]
    pub fn workloads(&self) -> usize {
        self.servers.len()
    }
}

/// Sends a request to the frontend, by the gateway at `address`.
///
/// # Errors
/// When there is no answer, or none of status 200.
pub async fn visit(address: SocketAddr, headers: &HeaderMap) -> anyhow::Result<(Visit, HeaderMap)> {
    let answer = client::send(address, "frontend.shop", headers).await?;
    anyhow::ensure!(answer.status == StatusCode::OK, "{}: {}", answer.status, answer.body);
    Ok((serde_json::from_str(&answer.body)?, answer.headers))
}

/// One workload.
#[derive(Debug)]
struct Server {
    name: String,
    address: SocketAddr,
    /// Where its calls go; set when the sidecar runs.
    sidecar: Arc<OnceLock<SocketAddr>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(name: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let sidecar = Arc::new(OnceLock::new());
        let task = tokio::spawn(serve(listener, name.to_owned(), Arc::clone(&sidecar)));
        Ok(Self { name: name.into(), address, sidecar, task })
    }

    fn service(&self) -> Service {
        Service { name: self.name.clone(), port: 80, endpoint: self.address, http2: false }
    }
}

async fn serve(listener: TcpListener, name: String, sidecar: Arc<OnceLock<SocketAddr>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (name, sidecar) = (name.clone(), Arc::clone(&sidecar));
        let service = service_fn(move |request| {
            let (name, sidecar) = (name.clone(), sidecar.get().copied());
            async move { Ok::<_, Infallible>(answer(&name, sidecar, request).await) }
        });
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            // A client that goes away is no concern of the server's.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    name: &str,
    sidecar: Option<SocketAddr>,
    request: Request<hyper::body::Incoming>,
) -> Response<Full<Bytes>> {
    let seen = |name: &str| {
        let value = request.headers().get(name).and_then(|value| value.to_str().ok());
        vec![value.unwrap_or_default().to_owned()]
    };
    let own = Visit { path: vec![name.into()], hosts: seen("host"), keys: seen(SANDBOX_HEADER) };
    let result = match (calls(name), sidecar) {
        (Some(next), Some(sidecar)) => call(next, sidecar, request.headers()).await,
        (Some(_), None) => Err(anyhow::anyhow!("{name} has no sidecar yet")),
        (None, _) => Ok((Visit::default(), HeaderMap::new())),
    };
    respond(own, result).unwrap_or_else(|error| {
        let mut response = Response::new(Full::from(format!("{name}: {error:#}")));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    })
}

fn respond(
    own: Visit,
    behind: anyhow::Result<(Visit, HeaderMap)>,
) -> anyhow::Result<Response<Full<Bytes>>> {
    let (behind, headers) = behind?;
    let visit = Visit {
        path: own.path.into_iter().chain(behind.path).collect(),
        hosts: own.hosts.into_iter().chain(behind.hosts).collect(),
        keys: own.keys.into_iter().chain(behind.keys).collect(),
    };
    let mut response = Response::new(Full::from(serde_json::to_vec(&visit)?));
    for decision in headers.get_all(DECISION_HEADER) {
        response.headers_mut().append(DECISION_HEADER, decision.clone());
    }
    Ok(response)
}

/// Calls the next service as an OpenTelemetry service does: what came in its baggage goes on.
async fn call(
    service: &str,
    sidecar: SocketAddr,
    headers: &HeaderMap,
) -> anyhow::Result<(Visit, HeaderMap)> {
    let propagator = BaggagePropagator::new();
    let context = propagator.extract(&Headers(&mut headers.clone()));
    let mut onward = HeaderMap::new();
    propagator.inject_context(&context, &mut Headers(&mut onward));
    if let Some(explain) = headers.get(EXPLAIN_HEADER) {
        onward.insert(EXPLAIN_HEADER, explain.clone());
    }
    let answer = client::send(sidecar, service, &onward).await?;
    anyhow::ensure!(answer.status == StatusCode::OK, "{}: {}", answer.status, answer.body);
    Ok((serde_json::from_str(&answer.body)?, answer.headers))
}

/// Headers as OpenTelemetry's propagators take them.
struct Headers<'a>(&'a mut HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(hyper::header::HeaderName::as_str).collect()
    }
}

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        let name = hyper::header::HeaderName::try_from(key);
        if let (Ok(name), Ok(value)) = (name, value.try_into()) {
            self.0.insert(name, value);
        }
    }
}

fn calls(workload: &str) -> Option<&'static str> {
    match workload.split('-').next() {
        Some("frontend") => Some("cart"),
        Some("cart") => Some("pricing"),
        _ => None,
    }
}

/// Listeners are named by their port.
const PORT_NAME: &str = "80";
