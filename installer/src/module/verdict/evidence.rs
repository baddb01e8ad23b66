//! What was seen of a canary: in how many sidecars its module runs, and the requests there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{Defect, ENOUGH};
use crate::observed::sidecars::ProxyMetrics;

/// What was seen of a canary.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The number of the canary's sidecars in which the module runs.
    pub running: usize,
    /// The number of the canary's sidecars.
    pub total: usize,
    /// The requests in the canary's sidecars.
    pub traffic: Traffic,
}

impl Evidence {
    /// "the module runs in 1 of 1 sidecars".
    #[must_use]
    pub fn running(&self) -> String {
        format!("the module runs in {} of {} sidecars", self.running, self.total)
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Traffic { decided, errors, .. } = self.traffic;
        write!(f, "{}; {decided} requests, {errors} with a 5xx", self.running())?;
        self.traffic.mean_latency().map_or(Ok(()), |mean| write!(f, ", mean latency {mean:.1} ms"))
    }
}

/// The requests of several sidecars, during the trial and before it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Traffic {
    /// The number of requests during the trial.
    pub requests: f64,
    /// The number of these with a 5xx response.
    pub errors: f64,
    /// The number of these that the module decided.
    pub decided: f64,
    /// The number of these with each outcome.
    outcomes: BTreeMap<String, f64>,
    past_outcomes: BTreeMap<String, f64>,
    /// Their latencies in milliseconds, summed, and the number of latencies in the sum.
    latency_ms: (f64, f64),
    past_requests: f64,
    past_errors: f64,
    past_latency_ms: (f64, f64),
}

impl Traffic {
    /// Adds a sidecar: its metrics from before the trial, and their increase since then.
    pub(super) fn add(&mut self, before: Option<&ProxyMetrics>, since: &ProxyMetrics) {
        self.requests += since.requests;
        self.errors += since.errors;
        self.decided += since.decided;
        add_all(&mut self.outcomes, &since.outcomes);
        self.latency_ms.0 += since.latency_ms_sum;
        self.latency_ms.1 += since.latency_ms_count;
        if let Some(before) = before {
            add_all(&mut self.past_outcomes, &before.outcomes);
            self.past_requests += before.requests;
            self.past_errors += before.errors;
            self.past_latency_ms.0 += before.latency_ms_sum;
            self.past_latency_ms.1 += before.latency_ms_count;
        }
    }

    /// What is not known of the requests: what is unknown is not good.
    pub(super) fn unknown(&self) -> Option<Defect> {
        let Self { decided, requests, .. } = *self;
        if decided == 0.0 {
            return Some(Defect::NoTraffic);
        }
        (requests == 0.0).then_some(Defect::NoResponses { decided })
    }

    /// The fraction of requests with a 5xx response, during the trial.
    pub(super) fn error_rate(&self) -> f64 {
        self.errors / self.requests.max(1.0)
    }

    pub(super) fn past_error_rate(&self) -> f64 {
        self.past_errors / self.past_requests.max(1.0)
    }

    /// The outcomes that were seen during the trial or before it, each with its share during the trial
    /// and before it; `None` if there are too few requests.
    pub(super) fn shares(&self) -> Option<Vec<(&str, f64, f64)>> {
        let total = |outcomes: &BTreeMap<String, f64>| {
            Some(outcomes.values().sum::<f64>()).filter(|total| *total >= ENOUGH)
        };
        let (now, past) = (total(&self.outcomes)?, total(&self.past_outcomes)?);
        let names: BTreeSet<_> = self.outcomes.keys().chain(self.past_outcomes.keys()).collect();
        let share = |outcomes: &BTreeMap<String, f64>, name: &String, total: f64| {
            outcomes.get(name).copied().unwrap_or_default() / total
        };
        let shares = names.into_iter().map(|name| {
            let (now, past) =
                (share(&self.outcomes, name, now), share(&self.past_outcomes, name, past));
            (name.as_str(), now, past)
        });
        Some(shares.collect())
    }

    /// The mean latency during the trial in milliseconds; `None` if there are too few requests.
    pub(super) fn mean_latency(&self) -> Option<f64> {
        mean(self.latency_ms)
    }

    pub(super) fn past_mean_latency(&self) -> Option<f64> {
        mean(self.past_latency_ms)
    }
}

fn add_all(sums: &mut BTreeMap<String, f64>, counts: &BTreeMap<String, f64>) {
    for (outcome, count) in counts {
        *sums.entry(outcome.clone()).or_default() += count;
    }
}

fn mean((sum, count): (f64, f64)) -> Option<f64> {
    (count >= ENOUGH).then(|| sum / count)
}
