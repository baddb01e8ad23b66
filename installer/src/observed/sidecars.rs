//! What the sidecars report: read where Prometheus reads it, at each Pod's own port, by way of the
//! API server's proxy to Pods, so that who asks needs no way into the cluster's network.
//!
//! Istio says nowhere whether a proxy has loaded a plugin (istio: WasmPlugin's status is about its
//! analysis), so this is how `status`, `install` and `rollout` know it.

mod metrics;
pub mod uptake;

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _, api::ListParams};

pub use self::metrics::ProxyMetrics;

/// The proxies of a mesh, or those of them that were asked.
#[derive(Debug, Clone, Default)]
pub struct Sidecars {
    /// By `namespace/name` of the Pod, what it reports, or why nothing is known of it.
    pub reports: BTreeMap<String, Result<ProxyMetrics, String>>,
    /// How many there are.
    pub total: usize,
}

impl Sidecars {
    /// Asks the proxies with these labels, no more than `limit`, of the plugin `plugin` (as Istio
    /// calls it in Envoy: `namespace.name`).
    ///
    /// # Errors
    /// When Pods cannot be listed; a proxy that does not answer is among the reports.
    pub async fn read(
        client: &Client,
        labels: &BTreeMap<String, String>,
        plugin: &str,
        limit: usize,
    ) -> anyhow::Result<Self> {
        let selector: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let params = ListParams::default()
            .labels(&selector.join(","))
            .fields("status.phase!=Succeeded,status.phase!=Failed");
        let pods = Api::<Pod>::all(client.clone()).list(&params).await;
        let pods = pods.context("cannot list Pods, to ask their sidecars")?;
        let meshed: Vec<_> = pods.into_iter().filter(has_proxy).collect();
        let total = meshed.len();
        // Some of many, spread over all.
        let step = total.div_ceil(limit.max(1)).max(1);
        let asked = meshed.into_iter().step_by(step).map(|pod| ask(client, pod, plugin));
        let reports: BTreeMap<_, _> =
            futures_util::stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
        let is_forbidden = |report: &Result<_, String>| {
            report.as_ref().is_err_and(|why| why.contains("forbidden"))
        };
        ensure!(
            reports.is_empty() || !reports.values().all(is_forbidden),
            "you may not `get pods/proxy`, by which the sidecars are asked"
        );
        Ok(Self { reports, total })
    }

    /// What those that answer report.
    pub fn answers(&self) -> impl Iterator<Item = (&str, &ProxyMetrics)> {
        let answer = |(pod, report)| Some((String::as_str(pod), Result::as_ref(report).ok()?));
        self.reports.iter().filter_map(answer)
    }
}

async fn ask(client: &Client, pod: Pod, plugin: &str) -> (String, Result<ProxyMetrics, String>) {
    let namespace = pod.namespace().unwrap_or_default();
    let name = pod.name_any();
    // Istio's injector says here where the agent serves its own metrics and Envoy's.
    let port = pod.annotations().get("prometheus.io/port").map_or(AGENT_PORT, String::as_str);
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy{METRICS}");
    let answer = async {
        let request = hyper::Request::get(path).header("accept", "text/plain").body(Vec::new())?;
        let text = tokio::time::timeout(PATIENCE, client.request_text(request)).await;
        anyhow::Ok(text.context("it does not answer")??)
    };
    let report = answer.await.map(|text| ProxyMetrics::parse(&text, plugin));
    (format!("{namespace}/{name}"), report.map_err(|error| format!("{error:#}")))
}

fn has_proxy(pod: &Pod) -> bool {
    let spec = pod.spec.clone().unwrap_or_default();
    let mut containers =
        spec.containers.into_iter().chain(spec.init_containers.unwrap_or_default());
    containers.any(|container| container.name == PROXY)
}

/// The name of Istio's container, in sidecars and gateways.
const PROXY: &str = "istio-proxy";
/// Of Istio's agent (istio: `statusPort`).
const AGENT_PORT: &str = "15020";
const METRICS: &str = "/stats/prometheus";
/// So many are asked at once.
const AT_ONCE: usize = 32;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
