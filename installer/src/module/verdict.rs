//! Whether a canary's module is good: a pure function of the metrics of its sidecars.
//!
//! | the canary is backed out if | because |
//! |---|---|
//! | the module does not run in one of its sidecars within [`Limits::start`] | it cannot be fetched or compiled, or it does not start |
//! | the module rejects the table | the sidecar would serve only the baseline |
//! | the VMs together run for less time than has passed | one of them has trapped, and its requests bypass the module |
//! | requests are answered and not decided | the same, if the VM still runs |
//! | the 5xx rate rises | compared with the sidecar before the trial, and with other sidecars now |
//! | another share of the requests has an outcome such as `routed` | compared with the sidecar before the trial, and with the change in other sidecars: a module that routes nothing answers quickly and without errors |
//! | no metrics of responses | what is unknown is not good |
//! | the latency rises | compared with the sidecar before the trial, and with the change in other sidecars |

mod defect;
mod evidence;

use std::{collections::BTreeMap, time::Duration};

pub use self::{
    defect::{Defect, StartFailure},
    evidence::{Evidence, Traffic},
};
use skycap_core::reason::Reason;

use crate::observed::sidecars::{ProxyMetrics, Sidecars};

/// When a canary counts as bad, and how long it is watched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// How long the module may take to start.
    pub start: Duration,
    /// How long it is watched after it has started.
    pub window: Duration,
    /// By how much the 5xx rate may rise, as a fraction of the requests.
    pub errors: f64,
    /// By how many milliseconds the mean latency may rise. The larger of this and
    /// [`Self::factor`] applies.
    pub slower: f64,
    /// By which factor the mean latency may rise, beyond the factor by which it rose in other
    /// sidecars.
    pub factor: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(30),
            window: Duration::from_secs(300),
            errors: 0.01,
            slower: 2.0,
            factor: 1.25,
        }
    }
}

/// What to do with a canary.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Keep watching; with the remaining part of the window, if the module runs everywhere.
    Wait(Evidence, Option<Duration>),
    /// Give the module to all workloads.
    Promote(Evidence),
    /// Remove the canary.
    BackOut(Defect, Evidence),
}

/// A canary that is watched.
#[derive(Debug, Clone)]
pub struct Trial {
    limits: Limits,
    /// The metrics of the canary's sidecars before the trial, by Pod.
    before: BTreeMap<String, ProxyMetrics>,
    /// The metrics of other sidecars before the trial, by Pod.
    others_before: BTreeMap<String, ProxyMetrics>,
    /// For each sidecar, the time since which its VMs are the same, and its metrics at that time.
    stable: BTreeMap<String, (Duration, ProxyMetrics)>,
    /// The sidecars in which the module does not run, with the time since then.
    not_running: BTreeMap<String, Duration>,
    /// When the module first ran in all sidecars.
    all_running: Option<Duration>,
}

impl Trial {
    /// Starts a trial with the metrics from before it.
    #[must_use]
    pub fn new(limits: Limits, before: &Sidecars, others: &Sidecars) -> Self {
        let metrics = |sidecars: &Sidecars| {
            sidecars.answers().map(|(pod, metrics)| (pod.to_owned(), metrics.clone())).collect()
        };
        Self {
            limits,
            before: metrics(before),
            others_before: metrics(others),
            stable: BTreeMap::new(),
            not_running: BTreeMap::new(),
            all_running: None,
        }
    }

    /// Judges the metrics at `elapsed` since the start of the trial.
    pub fn observe(&mut self, elapsed: Duration, now: &Sidecars, others: &Sidecars) -> Verdict {
        let mut evidence = Evidence { running: 0, total: now.total, traffic: Traffic::default() };
        for (pod, metrics) in now.answers() {
            let since = metrics.since(self.before.get(pod));
            evidence.running += usize::from(since.vm_seconds > 0.0);
            evidence.traffic.add(self.before.get(pod), &since);
            if let Some(defect) = self.sidecar_defect(pod, elapsed, &since) {
                return Verdict::BackOut(defect, evidence);
            }
        }
        let mut elsewhere = Traffic::default();
        for (pod, metrics) in others.answers() {
            let before = self.others_before.get(pod);
            elsewhere.add(before, &metrics.since(before));
        }
        // Also while the module does not run: Envoy answers 500 for a filter that it cannot load.
        let defect = self.traffic_defect(&evidence.traffic, &elsewhere);
        if let Some(defect) = defect.or_else(|| self.start_defect(elapsed, now)) {
            return Verdict::BackOut(defect, evidence);
        }
        if self.not_running.is_empty() && now.total > 0 {
            self.all_running.get_or_insert(elapsed);
        }
        let end = self.all_running.map(|start| start + self.limits.window);
        let left = end.map(|end| end.saturating_sub(elapsed));
        let is_over = left.is_some_and(|left| left.is_zero()) && self.not_running.is_empty();
        // Counters are written once a second, so the shares of a short time differ by chance.
        let is_long = self.all_running.is_some_and(|start| elapsed >= start + SHARES_AFTER);
        if let Some(defect) =
            (is_long || is_over).then(|| outcome_defect(&evidence.traffic, &elsewhere)).flatten()
        {
            return Verdict::BackOut(defect, evidence);
        }
        match is_over {
            false => Verdict::Wait(evidence, left),
            true => match evidence.traffic.unknown() {
                Some(defect) => Verdict::BackOut(defect, evidence),
                None => Verdict::Promote(evidence),
            },
        }
    }

    /// A sidecar in which the module has not run for longer than it may take to start. A Pod that
    /// starts during the trial has the same time.
    fn start_defect(&mut self, elapsed: Duration, now: &Sidecars) -> Option<Defect> {
        if now.total == 0 && elapsed >= self.limits.start {
            return Some(Defect::NoSidecars);
        }
        self.not_running.retain(|pod, _| now.reports.contains_key(pod));
        for (pod, report) in &now.reports {
            let metrics = report.as_ref().map(|metrics| metrics.since(self.before.get(pod)));
            let failure = match metrics {
                Ok(metrics) if metrics.vm_seconds > 0.0 => {
                    self.not_running.remove(pod);
                    continue;
                }
                Ok(metrics) if metrics.fetch_failures > 0.0 => StartFailure::NotFetched,
                Ok(_) => StartFailure::NotLoaded,
                Err(error) => StartFailure::Unknown(error.to_string()),
            };
            let first = self.all_running.map_or(Duration::ZERO, |_| elapsed);
            let since = *self.not_running.entry(pod.clone()).or_insert(first);
            if elapsed - since >= self.limits.start {
                return Some(Defect::NotRunning { pod: pod.clone(), failure });
            }
        }
        None
    }

    /// A defect in one sidecar.
    fn sidecar_defect(
        &mut self,
        pod: &str,
        elapsed: Duration,
        since: &ProxyMetrics,
    ) -> Option<Defect> {
        let pod = pod.to_owned();
        if since.rejected_tables > 0.0 {
            return Some(Defect::TableRejected { pod });
        }
        // The counters of a proxy start at 0 again when it restarts.
        let is_same = |metrics: &ProxyMetrics| {
            metrics.vms == since.vms && metrics.vm_seconds <= since.vm_seconds
        };
        let known = self.stable.get(&pod).filter(|(_, metrics)| is_same(metrics));
        let Some((start, stable)) = known else {
            self.stable.insert(pod, (elapsed, since.clone()));
            return None;
        };
        // Envoy has one VM for each worker and one for its main thread. If VMs were replaced, more
        // have started than run (with a `file:` URL, each table gets new VMs).
        let vms = since.vms.min(since.workers + 1.0);
        let passed = (elapsed - *start).as_secs_f64();
        let ran = since.vm_seconds - stable.vm_seconds;
        // A VM counts its time once a second, and reading the metrics takes a moment too.
        if passed * vms - ran > vms * 1.5 + 2.0 {
            return Some(Defect::VmStopped { pod, passed, vms, ran });
        }
        let requests = since.requests - stable.requests;
        let decided = since.decided - stable.decided;
        (requests >= ENOUGH && decided < requests / 2.0).then_some(Defect::Bypassed {
            pod,
            requests,
            decided,
        })
    }

    /// A defect in the requests of all sidecars together.
    fn traffic_defect(&self, traffic: &Traffic, others: &Traffic) -> Option<Defect> {
        let Limits { errors, slower, factor, .. } = self.limits;
        let (rate, before) = (traffic.error_rate(), traffic.past_error_rate());
        let elsewhere = others.error_rate();
        if traffic.errors >= FEW && rate > before.max(elsewhere) + errors {
            return Some(Defect::Errors { rate, before, others: elsewhere });
        }
        let (mean, before) = (traffic.mean_latency()?, traffic.past_mean_latency()?);
        let elsewhere = others.mean_latency().zip(others.past_mean_latency());
        let change = elsewhere.map_or(1.0, |(now, before)| now / before).max(1.0);
        let limit = (before * factor * change).max(before + slower);
        (mean > limit).then_some(Defect::Latency { mean, before })
    }
}

/// A defect in what the module decides.
fn outcome_defect(traffic: &Traffic, others: &Traffic) -> Option<Defect> {
    let elsewhere = others.shares().unwrap_or_default();
    traffic.shares()?.into_iter().find_map(|(outcome, share, before)| {
        let other = elsewhere.iter().find(|(name, ..)| *name == outcome);
        let change = other.map_or(0.0, |(_, now, past)| now - past);
        let expected = (before + change).clamp(0.0, 1.0);
        let is_halved = outcome == Reason::Routed.label()
            && expected * traffic.decided >= ENOUGH
            && share < expected / 2.0;
        ((share - expected).abs() > SHARE || is_halved).then(|| Defect::Outcome {
            outcome: outcome.to_owned(),
            share,
            expected,
        })
    })
}

/// How long the module must have run before shares of outcomes are compared.
const SHARES_AFTER: Duration = Duration::from_secs(10);
/// By how much the share of an outcome may differ from what is expected.
const SHARE: f64 = 0.3;
/// The number of requests from which on a mean or a share says something.
const ENOUGH: f64 = 20.0;
/// The number of failures below which they may be accidental.
const FEW: f64 = 3.0;
