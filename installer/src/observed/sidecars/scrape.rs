//! How the metrics of one proxy are read.

use std::time::Duration;

use futures_util::AsyncReadExt as _;
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::{Client, ResourceExt as _};
use serde_json::Value;

use super::ProxyMetrics;
use crate::observed::causes::causes;

/// Why the metrics of a proxy are unknown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScrapeError {
    /// The Pod did not answer in time.
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// The API server rejected the request, or could not reach the Pod.
    #[error("{}", .0.message)]
    Rejected(Box<kube::core::Status>),
    /// The API server is unreachable.
    #[error("{}", causes(.0))]
    Failed(kube::Error),
    /// The Pod's answer was cut off.
    #[error("the connection was closed: {0}")]
    Incomplete(std::io::Error),
    /// The Pod's answer is longer than that of a proxy, so it is not read to its end.
    #[error("the metrics are longer than {} MiB", METRICS_BYTES >> 20)]
    TooLong,
    /// The Pod has no valid metrics path.
    #[error("invalid port `{0}`: expected a port number in annotation `{PORT_ANNOTATION}`")]
    InvalidPath(String),
    /// The proxy's container does not run, so it serves no requests.
    #[error("the istio-proxy container does not run")]
    NotRunning,
}

impl ScrapeError {
    /// Whether the permission `get pods/proxy` is missing.
    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Rejected(status) if status.is_forbidden())
    }
}

impl From<kube::Error> for ScrapeError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Rejected(status),
            error => Self::Failed(error),
        }
    }
}

/// Whether a Pod has a proxy of Istio, as a sidecar or as a gateway: the container, and the mark of
/// Istio's injector (istio: `annotation.SidecarStatus`) or of its Gateway controller
/// (`label.GatewayManaged`). This excludes Pods outside the mesh. It is not a proof: anyone who can create
/// a Pod can add the marks.
pub(crate) fn has_proxy(pod: &Pod) -> bool {
    if !pod.annotations().contains_key(INJECTED) && !pod.labels().contains_key(MANAGED_GATEWAY) {
        return false;
    }
    proxy_container(pod).is_some()
}

/// The proxy's container; a native sidecar is an init container.
fn proxy_container(pod: &Pod) -> Option<&Container> {
    let spec = pod.spec.as_ref()?;
    let init = spec.init_containers.as_deref().unwrap_or_default();
    spec.containers.iter().chain(init).find(|container| container.name == PROXY_CONTAINER)
}

/// Whether the Pod is so far that its proxy may run: it has a node and an address.
pub(super) fn has_address(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some())
}

/// Whether the kubelet says that the proxy's container does not run.
fn is_down(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_deref());
    let init = status.and_then(|status| status.init_container_statuses.as_deref());
    let mut containers = containers.unwrap_or_default().iter().chain(init.unwrap_or_default());
    let proxy = containers.find(|container| container.name == PROXY_CONTAINER);
    let state = proxy.and_then(|container| container.state.as_ref());
    state.is_some_and(|state| state.running.is_none())
}

/// The port with the metrics of the agent and of Envoy: Istio's annotation, else the `statusPort` of the
/// proxy configuration that the injector wrote into the container, else Istio's default.
///
/// Not `prometheus.io/port`: with `prometheus.istio.io/merge-metrics: "false"`, that is the
/// application's.
fn port(pod: &Pod) -> Result<u16, ScrapeError> {
    if let Some(port) = pod.annotations().get(PORT_ANNOTATION) {
        // Anything else could lead to another path of the API server.
        return port.parse().map_err(|_| ScrapeError::InvalidPath(port.to_owned()));
    }
    let config = proxy_container(pod)
        .and_then(|proxy| proxy.env.as_ref()?.iter().find(|variable| variable.name == PROXY_CONFIG))
        .and_then(|variable| serde_json::from_str::<Value>(variable.value.as_deref()?).ok());
    let port = config.and_then(|config| config["statusPort"].as_u64());
    Ok(port.and_then(|port| u16::try_from(port).ok()).unwrap_or(AGENT_PORT))
}

/// Reads the metrics of a Pod's proxy, with `namespace/name` of the Pod.
pub(super) async fn scrape(
    client: &Client,
    pod: Pod,
    plugin: &str,
) -> (String, Result<ProxyMetrics, ScrapeError>) {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let text = async {
        if is_down(&pod) {
            return Err(ScrapeError::NotRunning);
        }
        let port = port(&pod)?;
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy{METRICS_PATH}");
        request(client, path).await
    };
    let text = text.await;
    (format!("{namespace}/{name}"), text.map(|text| ProxyMetrics::parse(&text, plugin)))
}

/// The answer of a Pod, through the API server; bounded in size and time.
pub(in crate::observed) async fn request(
    client: &Client,
    path: String,
) -> Result<String, ScrapeError> {
    let request = hyper::Request::get(&path).header("accept", "text/plain").body(Vec::new());
    let request = request.map_err(|_| ScrapeError::InvalidPath(path))?;
    let answer = tokio::time::timeout(TIMEOUT, read(client, request)).await;
    answer.map_err(|_| ScrapeError::Timeout)?
}

async fn read(client: &Client, request: hyper::Request<Vec<u8>>) -> Result<String, ScrapeError> {
    let body = client.request_stream(request).await?;
    let mut bytes = Vec::new();
    body.take(METRICS_BYTES + 1).read_to_end(&mut bytes).await.map_err(ScrapeError::Incomplete)?;
    if bytes.len() as u64 > METRICS_BYTES {
        return Err(ScrapeError::TooLong);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The name of the proxy's container, in sidecars and gateways.
const PROXY_CONTAINER: &str = "istio-proxy";
/// The annotation that sets the agent's port for one Pod (istio: `annotation.SidecarStatusPort`).
const PORT_ANNOTATION: &str = "status.sidecar.istio.io/port";
/// The variable with the proxy's configuration in the container (istio: injection-template.yaml).
const PROXY_CONFIG: &str = "PROXY_CONFIG";
/// The default port of these metrics (istio: `statusPort`).
const AGENT_PORT: u16 = 15020;
/// The annotation that Istio's injector adds to a Pod.
const INJECTED: &str = "sidecar.istio.io/status";
/// The label of the gateways that Istio deploys for Gateway resources.
const MANAGED_GATEWAY: &str = "gateway.istio.io/managed";
const METRICS_PATH: &str = "/stats/prometheus";
/// How long one proxy may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The most bytes that are read from one proxy, so that an endless answer ends.
const METRICS_BYTES: u64 = 32 << 20;
