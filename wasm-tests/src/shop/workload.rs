//! One workload of the shop: a server in this process that propagates `baggage` as an OpenTelemetry
//! service does, with the SDK's own propagator (which reads only the first `baggage` line).

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context as _;
use http_body_util::Full;
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderValue},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry_sdk::propagation::BaggagePropagator;
use skycap_core::{
    decision_header::DECISION_HEADER, dispatch::SANDBOX_HEADER, explain::EXPLAIN_HEADER,
};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{Visit, failure::follow_signals};
use crate::client;

/// A running workload. It stops when it is dropped.
#[derive(Debug)]
pub struct Workload {
    /// The name. The part before the first `-` is the role: `cart-pr-1` is a cart.
    pub name: String,
    /// The address on which it listens.
    pub address: SocketAddr,
    /// The destination of its calls, once the sidecar runs.
    sidecar: Arc<OnceLock<SocketAddr>>,
    task: JoinHandle<()>,
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Workload {
    /// Starts a workload on a free port of `ip`.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start(name: &str, ip: IpAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((ip, 0)).await?;
        let address = listener.local_addr()?;
        let sidecar = Arc::new(OnceLock::new());
        let calls = Calls::Sidecar(Arc::clone(&sidecar));
        let task = tokio::spawn(serve(listener, name.to_owned(), calls));
        Ok(Self { name: name.into(), address, sidecar, task })
    }

    /// Runs a workload in a Pod, on this port of all addresses, until it fails. It calls other services
    /// by their names in DNS, as a program does that knows of no sidecar. In a sandbox, it says so in its
    /// name.
    ///
    /// # Errors
    /// If the port is taken.
    pub async fn run_in_pod(name: &str, port: u16) -> anyhow::Result<()> {
        let is_ready = Arc::new(AtomicBool::new(true));
        follow_signals(Arc::clone(&is_ready))?;
        let listener = TcpListener::bind((IpAddr::from([0, 0, 0, 0]), port)).await?;
        let sandbox = std::env::var("SKYCAP_SANDBOX").map(|sandbox| format!("-{sandbox}"));
        let name = format!("{name}{}", sandbox.unwrap_or_default());
        serve(listener, name, Calls::ByName { is_ready }).await;
        Ok(())
    }

    /// Sends its calls to this sidecar, from now on. Only the first call of this has an effect.
    pub fn set_sidecar(&self, sidecar: SocketAddr) {
        let _ = self.sidecar.set(sidecar);
    }
}

/// Where a workload sends its calls.
#[derive(Debug, Clone)]
enum Calls {
    /// To the sidecar, once it is known.
    Sidecar(Arc<OnceLock<SocketAddr>>),
    /// To port 80 of the address that DNS has for the service. The workload may fail its probe.
    ByName { is_ready: Arc<AtomicBool> },
}

impl Calls {
    fn readiness(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from("ok\n"));
        if matches!(self, Self::ByName { is_ready } if !is_ready.load(Ordering::Relaxed)) {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        response
    }

    async fn address(&self, service: &str) -> anyhow::Result<SocketAddr> {
        match self {
            Self::Sidecar(sidecar) => sidecar.get().copied().context("the sidecar has not started"),
            Self::ByName { .. } => {
                let addresses = tokio::net::lookup_host((service, 80)).await;
                let mut addresses =
                    addresses.with_context(|| format!("no address of {service}"))?;
                addresses.next().with_context(|| format!("no address of {service}"))
            }
        }
    }
}

async fn serve(listener: TcpListener, name: String, calls: Calls) {
    while let Ok((stream, _)) = listener.accept().await {
        let (name, calls) = (name.clone(), calls.clone());
        let service = service_fn(move |request| {
            let (name, calls) = (name.clone(), calls.clone());
            async move { Ok::<_, Infallible>(answer(&name, &calls, request).await) }
        });
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            // An error here means that the client closed the connection.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    name: &str,
    calls: &Calls,
    request: Request<hyper::body::Incoming>,
) -> Response<Full<Bytes>> {
    if request.uri().path() == "/ready" {
        return calls.readiness();
    }
    if request.uri().path() == "/page" {
        return page(name);
    }
    let received = |name: &str| {
        let value = request.headers().get(name).and_then(|value| value.to_str().ok());
        vec![value.unwrap_or_default().to_owned()]
    };
    let own = Visit {
        path: vec![name.into()],
        hosts: received("host"),
        keys: received(SANDBOX_HEADER),
        carriers: vec![carriers(request.headers())],
    };
    let result = match next_service(name) {
        Some(next) => call(next, calls, request.headers()).await,
        None => Ok((Visit::default(), HeaderMap::new())),
    };
    respond(own, result).unwrap_or_else(|error| {
        let mut response = Response::new(Full::from(format!("{name}: {error:#}")));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    })
}

/// A page for browsers, which adds the answer to another request of its own.
fn page(name: &str) -> Response<Full<Bytes>> {
    let script =
        "fetch('/').then(answer => answer.text()).then(text => document.body.append(text))";
    let html = format!("<!doctype html><title>{name}</title><body><script>{script}</script>");
    let mut response = Response::new(Full::from(html));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

/// The carriers of a request, as `baggage: a=1; tracestate: b=2`, with each line by itself.
fn carriers(headers: &HeaderMap) -> String {
    let lines = ["baggage", "tracestate", "x-tenant"].into_iter().flat_map(|name| {
        let lines = headers.get_all(name).iter();
        lines.map(move |value| format!("{name}: {}", value.as_bytes().escape_ascii()))
    });
    lines.collect::<Vec<_>>().join("; ")
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
        carriers: own.carriers.into_iter().chain(behind.carriers).collect(),
    };
    let mut response = Response::new(Full::from(serde_json::to_vec(&visit)?));
    for decision in headers.get_all(DECISION_HEADER) {
        response.headers_mut().append(DECISION_HEADER, decision.clone());
    }
    Ok(response)
}

/// Calls the next service as an OpenTelemetry service does, with the baggage of the request.
async fn call(
    service: &str,
    calls: &Calls,
    headers: &HeaderMap,
) -> anyhow::Result<(Visit, HeaderMap)> {
    let propagator = BaggagePropagator::new();
    let context = propagator.extract(&Headers(&mut headers.clone()));
    let mut onward = HeaderMap::new();
    propagator.inject_context(&context, &mut Headers(&mut onward));
    if let Some(explain) = headers.get(EXPLAIN_HEADER) {
        onward.insert(EXPLAIN_HEADER, explain.clone());
    }
    let answer = client::send(calls.address(service).await?, service, &onward).await?;
    anyhow::ensure!(answer.status == StatusCode::OK, "{}: {}", answer.status, answer.body);
    Ok((serde_json::from_str(&answer.body)?, answer.headers))
}

/// Headers, as OpenTelemetry's propagators access them.
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

fn next_service(workload: &str) -> Option<&'static str> {
    match workload.split('-').next() {
        Some("frontend") => Some("cart"),
        Some("cart") => Some("pricing"),
        _ => None,
    }
}
