//! Which sidecars serve the current table, and why the others do not.

use std::{collections::BTreeMap, time::Duration};

use kube::Client;
use serde::{Serialize, Serializer};
use skycap_core::config::Generation;

use super::{ProxyMetrics, ScrapeError, Sidecars};
use crate::{
    objects::ObjectRef,
    problem::{Problem, Severity},
};

/// How many sidecars serve the current table.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Uptake {
    /// The number of proxies in the mesh.
    pub total: usize,
    /// The number of proxies in the sample.
    pub asked: usize,
    /// The number of proxies in the sample that serve the current table.
    pub current: usize,
    /// Why the others do not, by `namespace/name` of the Pod.
    pub behind: BTreeMap<String, Lag>,
}

/// Why a sidecar does not serve the current table. Serializes as its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lag {
    /// Its metrics cannot be read, for this reason.
    #[error("cannot read the sidecar's metrics: {0}")]
    Unknown(String),
    /// Istio's agent cannot fetch the module.
    #[error(
        "Istio's agent could not fetch the module, so the sidecar's requests go to the baseline; check the \
         module with `skycap plugin inspect`; the agent tries again when any sandbox changes, or when the \
         Pod restarts"
    )]
    NotFetched,
    /// The module ran before, but does not run now.
    #[error(
        "the module has stopped, so the sidecar's requests go to the baseline; see the log of its \
         istio-proxy container, then restart the Pod"
    )]
    Stopped,
    /// The module has not run yet.
    #[error(
        "the module has no table yet; if this persists, see the log of the istio-proxy container"
    )]
    NoTable,
    /// The module rejected the table.
    #[error(
        "the module rejects the table and serves an older one, because the module is older than the \
         controller; roll out the module of the same version"
    )]
    Rejected,
    /// The module serves an older table.
    #[error("the module still serves an older table")]
    Outdated,
}

impl Serialize for Lag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Uptake {
    /// Reads the metrics of up to 100 sidecars of a namespace, or of all of them, for the plugin
    /// `plugin` (its name in Envoy).
    /// Without a `current` generation, every sidecar with a table is up to date.
    ///
    /// # Errors
    /// Those of [`Sidecars::read`].
    pub async fn read(
        client: &Client,
        namespace: Option<&str>,
        plugin: &str,
        current: Option<Generation>,
    ) -> anyhow::Result<Self> {
        let all = BTreeMap::new();
        let sidecars = Sidecars::read(client, namespace, &all, plugin, SAMPLE).await?;
        // The gauge of the generation outlives its module. Only a second look shows whether the
        // module still runs.
        if sidecars.answers().any(|(_, metrics)| metrics.fetch_failures > 0.0) {
            tokio::time::sleep(VM_TICK).await;
            let later = Sidecars::read(client, namespace, &all, plugin, SAMPLE).await?;
            return Ok(Self::of(&sidecars, &later, current));
        }
        Ok(Self::of(&sidecars, &sidecars, current))
    }

    /// Compares two samples, which may be the same one.
    #[must_use]
    pub fn of(first: &Sidecars, second: &Sidecars, current: Option<Generation>) -> Self {
        let current = current.map(Generation::as_u64);
        let is_down =
            |report: &Result<_, ScrapeError>| matches!(report, Err(ScrapeError::NotRunning));
        // A proxy that does not run serves no requests, and cannot be behind.
        let down = second.reports.values().filter(|report| is_down(report)).count();
        let (total, asked) = (second.total - down, second.reports.len() - down);
        let mut uptake = Self { total, asked, ..Self::default() };
        for (pod, report) in second.reports.iter().filter(|(_, report)| !is_down(report)) {
            let before = first.reports.get(pod).and_then(|report| report.as_ref().ok());
            let lag = match report {
                Err(error) => Some(Lag::Unknown(error.to_string())),
                Ok(metrics) => lag(before, metrics, current),
            };
            match lag {
                None => uptake.current += 1,
                Some(lag) => drop(uptake.behind.insert(pod.clone(), lag)),
            }
        }
        uptake
    }

    /// One line: "12 of 12 sidecars are up to date", or with a sample "100 of 100 sampled sidecars
    /// are up to date (5,000 in total)".
    #[must_use]
    pub fn summary(&self) -> String {
        let Self { total, asked, current, .. } = self;
        if asked < total {
            let total = with_separators(*total);
            return format!(
                "{current} of {asked} sampled sidecars are up to date ({total} in total)"
            );
        }
        format!("{current} of {asked} sidecars are up to date")
    }

    /// A warning for each sidecar that is behind, at most five.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let problem = |(pod, lag): (&String, &Lag)| {
            let (namespace, name) = pod.split_once('/').unwrap_or(("", pod));
            let pod = ObjectRef::new("v1", "Pod", namespace, name);
            Problem::of(pod, Severity::Warning, "istio-proxy", lag.to_string())
        };
        self.behind.iter().take(PROBLEMS).map(problem).collect()
    }
}

/// Why a sidecar with these metrics does not serve the current table; `None` if it does.
fn lag(before: Option<&ProxyMetrics>, metrics: &ProxyMetrics, current: Option<u64>) -> Option<Lag> {
    let is_alive =
        before.is_none_or(|before| before == metrics || before.vm_seconds < metrics.vm_seconds);
    let is_running = metrics.generation.is_some() && is_alive && metrics.vm_seconds > 0.0;
    if !is_running {
        return Some(match metrics.generation {
            _ if metrics.fetch_failures > 0.0 => Lag::NotFetched,
            Some(_) => Lag::Stopped,
            None => Lag::NoTable,
        });
    }
    let is_current = current.is_none() || metrics.generation == current;
    let lag = if metrics.rejected_tables > 0.0 { Lag::Rejected } else { Lag::Outdated };
    (!is_current).then_some(lag)
}

/// `5,000`.
fn with_separators(number: usize) -> String {
    let digits = number.to_string();
    let is_start = |index: usize| index > 0 && (digits.len() - index).is_multiple_of(3);
    let group = |(index, digit)| [is_start(index).then_some(','), Some(digit)];
    digits.chars().enumerate().flat_map(group).flatten().collect()
}

/// How many sidecars are read at most. More would not change the picture, but cost time.
const SAMPLE: usize = 100;
/// How many sidecars are named at most.
const PROBLEMS: usize = 5;
/// The time after which a running module has increased its `vm_seconds`. It does so every second.
const VM_TICK: Duration = Duration::from_millis(2_200);

#[cfg(test)]
mod tests {
    use super::*;

    fn sidecars(generation: Option<u64>, vm_seconds: f64, fetch_failures: f64) -> Sidecars {
        let metrics =
            ProxyMetrics { generation, vm_seconds, fetch_failures, ..ProxyMetrics::default() };
        Sidecars { reports: [("shop/cart-1".to_owned(), Ok(metrics))].into(), total: 1 }
    }

    #[test]
    fn a_gauge_that_outlives_its_module_is_not_taken_for_a_running_module() {
        let table = Generation::of(b"table");
        let current = Some(table.as_u64());
        for (about, first, second, expected) in [
            ("up to date", sidecars(current, 5.0, 0.0), sidecars(current, 5.0, 0.0), None),
            (
                "up to date after a failed fetch",
                sidecars(current, 5.0, 1.0),
                sidecars(current, 7.0, 1.0),
                None,
            ),
            (
                "an older table",
                sidecars(Some(1), 5.0, 0.0),
                sidecars(Some(1), 5.0, 0.0),
                Some(Lag::Outdated),
            ),
            (
                "never fetched",
                sidecars(None, 0.0, 1.0),
                sidecars(None, 0.0, 2.0),
                Some(Lag::NotFetched),
            ),
            (
                "replaced by a module that cannot be fetched",
                sidecars(current, 5.0, 1.0),
                sidecars(current, 5.0, 2.0),
                Some(Lag::NotFetched),
            ),
            (
                "no table yet",
                sidecars(None, 0.0, 0.0),
                sidecars(None, 0.0, 0.0),
                Some(Lag::NoTable),
            ),
            (
                "stopped",
                sidecars(current, 0.0, 0.0),
                sidecars(current, 0.0, 0.0),
                Some(Lag::Stopped),
            ),
        ] {
            let uptake = Uptake::of(&first, &second, Some(table));
            assert_eq!(uptake.behind.values().next(), expected.as_ref(), "{about}");
        }
    }

    #[test]
    fn the_summary_tells_a_sample_from_the_whole() {
        let all = Uptake { total: 12, asked: 12, current: 11, ..Uptake::default() };
        assert_eq!(all.summary(), "11 of 12 sidecars are up to date");
        let sample = Uptake { total: 5_000, asked: 100, current: 100, ..Uptake::default() };
        assert_eq!(sample.summary(), "100 of 100 sampled sidecars are up to date (5,000 in total)");
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(with_separators(number), text);
        }
    }
}
