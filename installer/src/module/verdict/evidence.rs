//! What was seen of a canary: in how many sidecars its module runs, and the requests there.

use std::fmt;

use super::ENOUGH;
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
        self.latency_ms.0 += since.latency_ms_sum;
        self.latency_ms.1 += since.latency_ms_count;
        if let Some(before) = before {
            self.past_requests += before.requests;
            self.past_errors += before.errors;
            self.past_latency_ms.0 += before.latency_ms_sum;
            self.past_latency_ms.1 += before.latency_ms_count;
        }
    }

    /// The fraction of requests with a 5xx response, during the trial.
    pub(super) fn error_rate(&self) -> f64 {
        self.errors / self.requests.max(1.0)
    }

    pub(super) fn past_error_rate(&self) -> f64 {
        self.past_errors / self.past_requests.max(1.0)
    }

    /// The mean latency during the trial in milliseconds; `None` if there are too few requests.
    pub(super) fn mean_latency(&self) -> Option<f64> {
        mean(self.latency_ms)
    }

    pub(super) fn past_mean_latency(&self) -> Option<f64> {
        mean(self.past_latency_ms)
    }
}

fn mean((sum, count): (f64, f64)) -> Option<f64> {
    (count >= ENOUGH).then(|| sum / count)
}
