//! Which sidecars serve the table that is compiled, and what keeps the others.

use std::{collections::BTreeMap, time::Duration};

use kube::Client;
use serde::Serialize;
use skycap_core::config::Generation;

use super::{ProxyMetrics, Sidecars};
use crate::{
    objects::ObjectRef,
    problem::{Problem, Severity},
};

/// How far the sidecars are.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Uptake {
    /// Proxies in the mesh.
    pub total: usize,
    /// Those that were asked.
    pub asked: usize,
    /// Of these, those that serve the table.
    pub current: usize,
    /// By Pod, what is wrong with the others.
    pub behind: BTreeMap<String, String>,
}

impl Uptake {
    /// Asks up to a hundred sidecars.
    ///
    /// # Errors
    /// When Pods cannot be listed.
    pub async fn read(
        client: &Client,
        plugin: &str,
        wanted: Option<Generation>,
    ) -> anyhow::Result<Self> {
        let all = BTreeMap::new();
        let first = Sidecars::read(client, &all, plugin, SAMPLE).await?;
        // A gauge outlives its module: whether that still runs is seen by its life.
        let is_doubtful = first.answers().any(|(_, report)| report.fetch_failures > 0.0);
        let second = match is_doubtful {
            true => {
                tokio::time::sleep(LIFE).await;
                Sidecars::read(client, &all, plugin, SAMPLE).await?
            }
            false => first.clone(),
        };
        Ok(Self::of(&first, &second, wanted))
    }

    /// Compares two looks, which may be the same one.
    #[must_use]
    pub fn of(first: &Sidecars, second: &Sidecars, wanted: Option<Generation>) -> Self {
        let wanted = wanted.map(Generation::as_u64);
        let mut uptake =
            Self { total: second.total, asked: second.reports.len(), ..Self::default() };
        for (pod, report) in &second.reports {
            let before = first.reports.get(pod).and_then(|report| report.as_ref().ok());
            let trouble = match report {
                Err(error) => Some(format!("it does not answer: {error}")),
                Ok(report) => trouble(before, report, wanted),
            };
            match trouble {
                None => uptake.current += 1,
                Some(why) => drop(uptake.behind.insert(pod.clone(), why)),
            }
        }
        uptake
    }

    /// In a line.
    #[must_use]
    pub fn told(&self) -> String {
        let Self { total, asked, current, .. } = self;
        let of = if asked < total { format!(", asked of {total}") } else { String::new() };
        format!("{current} of {asked} serve the table{of}")
    }

    /// What is wrong, a row for each sidecar, no more than a few.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let problem = |(pod, why): (&String, &String)| {
            let (namespace, name) = pod.split_once('/').unwrap_or(("", pod));
            let pod = ObjectRef::new("v1", "Pod", namespace, name);
            Problem::of(pod, Severity::Warning, "istio-proxy", why)
        };
        self.behind.iter().take(SHOWN).map(problem).collect()
    }
}

/// What keeps a sidecar from the table.
fn trouble(
    before: Option<&ProxyMetrics>,
    report: &ProxyMetrics,
    wanted: Option<u64>,
) -> Option<String> {
    let lives = before.is_none_or(|before| before == report || before.lived < report.lived);
    let fetches = report.fetch_failures > 0.0;
    match report.generation {
        Some(_) if lives && report.lived > 0.0 => {}
        _ if fetches => {
            return Some(
                "Istio's agent cannot get the module, and its requests go to the baseline; the \
                 agent's log says why: look at the module with `skycap plugin inspect`"
                    .into(),
            );
        }
        Some(_) => {
            return Some(
                "the module has stopped, and its requests go to the baseline; see its istio-proxy's \
                 log for what happened, and restart the Pod"
                    .into(),
            );
        }
        None => return Some("it has no table yet; its istio-proxy's log may say why".into()),
    }
    (wanted.is_some() && report.generation != wanted).then(|| {
        if report.refused > 0.0 {
            "it refuses the table and serves an older one: its module is older than the controller"
                .into()
        } else {
            "it serves an older table still".into()
        }
    })
}

/// So many sidecars say enough of all.
const SAMPLE: usize = 100;
/// So many are shown.
const SHOWN: usize = 5;
/// A module counts its life once a second.
const LIFE: Duration = Duration::from_millis(2_200);

#[cfg(test)]
mod tests {
    use super::*;

    fn sidecars(generation: Option<u64>, lived: f64, fetch_failures: f64) -> Sidecars {
        let report = ProxyMetrics { generation, lived, fetch_failures, ..ProxyMetrics::default() };
        Sidecars { reports: [("shop/cart-1".to_owned(), Ok(report))].into(), total: 1 }
    }

    #[test]
    fn a_gauge_that_outlives_its_module_deceives_nobody() {
        let wanted = Some(Generation::of(b"table"));
        let serves = wanted.map(Generation::as_u64);
        for (about, first, second, behind) in [
            ("serves", sidecars(serves, 5.0, 0.0), sidecars(serves, 5.0, 0.0), None),
            ("had trouble once", sidecars(serves, 5.0, 1.0), sidecars(serves, 7.0, 1.0), None),
            (
                "an older table",
                sidecars(Some(1), 5.0, 0.0),
                sidecars(Some(1), 5.0, 0.0),
                Some("older table"),
            ),
            (
                "never loaded",
                sidecars(None, 0.0, 1.0),
                sidecars(None, 0.0, 2.0),
                Some("cannot get"),
            ),
            (
                "replaced by nothing",
                sidecars(serves, 5.0, 1.0),
                sidecars(serves, 5.0, 2.0),
                Some("cannot get"),
            ),
        ] {
            let uptake = Uptake::of(&first, &second, wanted);
            let seen = uptake.behind.values().next().cloned();
            let is_right = match behind {
                None => seen.is_none(),
                Some(word) => seen.as_ref().is_some_and(|why| why.contains(word)),
            };
            assert!(is_right, "{about}: {seen:?}");
        }
    }
}
