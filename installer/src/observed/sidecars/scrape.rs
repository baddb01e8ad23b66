//! How the metrics of one proxy are read.

use std::time::Duration;

use futures_util::AsyncReadExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{Client, ResourceExt as _};

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
pub(super) fn has_proxy(pod: &Pod) -> bool {
    if !pod.annotations().contains_key(INJECTED) && !pod.labels().contains_key(MANAGED_GATEWAY) {
        return false;
    }
    let spec = pod.spec.clone().unwrap_or_default();
    let mut containers =
        spec.containers.into_iter().chain(spec.init_containers.unwrap_or_default());
    containers.any(|container| container.name == PROXY_CONTAINER)
}

/// Reads the metrics of a Pod's proxy, with `namespace/name` of the Pod.
pub(super) async fn scrape(
    client: &Client,
    pod: Pod,
    plugin: &str,
) -> (String, Result<ProxyMetrics, ScrapeError>) {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let port = pod.annotations().get(PORT_ANNOTATION).map_or(AGENT_PORT, String::as_str);
    // Anything else could lead to another path of the API server.
    if port.parse::<u16>().is_err() {
        return (format!("{namespace}/{name}"), Err(ScrapeError::InvalidPath(port.to_owned())));
    }
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy{METRICS_PATH}");
    let text = request(client, path).await;
    (format!("{namespace}/{name}"), text.map(|text| ProxyMetrics::parse(&text, plugin)))
}

async fn request(client: &Client, path: String) -> Result<String, ScrapeError> {
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
/// The annotation in which Istio's injector writes the port with the metrics of the agent and
/// Envoy.
const PORT_ANNOTATION: &str = "prometheus.io/port";
/// The default port of these metrics (istio: `statusPort`).
const AGENT_PORT: &str = "15020";
/// The annotation that Istio's injector adds to a Pod.
const INJECTED: &str = "sidecar.istio.io/status";
/// The label of the gateways that Istio deploys for Gateway resources.
const MANAGED_GATEWAY: &str = "gateway.istio.io/managed";
const METRICS_PATH: &str = "/stats/prometheus";
/// How long one proxy may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The most bytes that are read from one proxy, so that an endless answer ends.
const METRICS_BYTES: u64 = 32 << 20;
