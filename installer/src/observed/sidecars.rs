//! The metrics of sidecars: read from each Pod's own metrics port, as Prometheus does, through the
//! API server's proxy to Pods. So a user needs no access to the cluster's network.
//!
//! Istio does not report whether a proxy has loaded a plugin (istio: the status of a WasmPlugin is
//! about its analysis), so `status`, `install` and `rollout` find it out here.

mod metrics;
mod scrape;
pub mod uptake;

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams};

pub(crate) use self::scrape::has_proxy;
pub(super) use self::scrape::request;
use self::scrape::{has_address, scrape};
pub use self::{metrics::ProxyMetrics, scrape::ScrapeError};

/// The metrics of a mesh's proxies, or of a sample of them.
#[derive(Debug, Default)]
pub struct Sidecars {
    /// The metrics of each proxy, or why they are unknown, by `namespace/name` of the Pod.
    pub reports: BTreeMap<String, Result<ProxyMetrics, ScrapeError>>,
    /// The number of proxies in the mesh, whether in the sample or not.
    pub total: usize,
}

impl Sidecars {
    /// Reads the metrics of the proxies whose Pods are in this namespace, or in all of them, and have
    /// these labels, for the plugin `plugin` (its name in Envoy, `namespace.name`). If there are more than `limit` proxies, reads at most
    /// `limit` of them, spread evenly.
    ///
    /// # Errors
    /// If Pods cannot be listed, or [`MissingPermission`] to read their metrics. A single proxy that does not answer is not an error: its report is one.
    pub async fn read(
        client: &Client,
        namespace: Option<&str>,
        labels: &BTreeMap<String, String>,
        plugin: &str,
        limit: usize,
    ) -> anyhow::Result<Self> {
        let selector: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let params = ListParams::default()
            .labels(&selector.join(","))
            .fields("status.phase!=Succeeded,status.phase!=Failed");
        let pods = match namespace {
            Some(namespace) => Api::<Pod>::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let pods = pods.list(&params).await;
        let pods = pods.context("cannot list Pods to find sidecars")?;
        // A Pod that waits for a node or an image serves no requests.
        let is_proxy = |pod: &Pod| has_proxy(pod) && has_address(pod);
        let proxies: Vec<_> = pods.into_iter().filter(is_proxy).collect();
        let total = proxies.len();
        let stride = total.div_ceil(limit.max(1)).max(1);
        let sample = proxies.into_iter().step_by(stride).map(|pod| scrape(client, pod, plugin));
        let reports: BTreeMap<_, _> =
            futures_util::stream::iter(sample).buffer_unordered(CONCURRENCY).collect().await;
        let is_forbidden =
            |report: &Result<_, ScrapeError>| matches!(report, Err(error) if error.is_forbidden());
        let is_allowed = reports.is_empty() || !reports.values().all(is_forbidden);
        ensure!(is_allowed, MissingPermission);
        Ok(Self { reports, total })
    }

    /// The metrics of the proxies that answered, with `namespace/name` of the Pod.
    pub fn answers(&self) -> impl Iterator<Item = (&str, &ProxyMetrics)> {
        let answer = |(pod, report)| Some((String::as_str(pod), Result::as_ref(report).ok()?));
        self.reports.iter().filter_map(answer)
    }
}

/// The permission to read the metrics of any sidecar is missing.
#[derive(Debug, thiserror::Error)]
#[error(
    "missing permission: skycap reads the metrics of sidecars with `get pods/proxy`; ask for this \
     permission"
)]
pub struct MissingPermission;

/// How many proxies are read at the same time.
const CONCURRENCY: usize = 32;
