//! Whether a canary is good, by what its sidecars report: a function of what was seen, and of
//! nothing else.
//!
//! | a canary is backed out when | because |
//! |---|---|
//! | the module does not run in one of its sidecars for [`Limits::start`] | it cannot be fetched or compiled, or refuses to start |
//! | it refuses the table | the sidecar would serve the baseline only |
//! | its VMs live fewer seconds than have passed | one has trapped, and requests pass it unseen |
//! | requests are answered and not decided | the same, where the VM still lives |
//! | the share of 5xx has grown | against the sidecar's own past, and against the others now |
//! | requests take longer | against the sidecar's own past, and against how the others changed |

use std::{collections::BTreeMap, time::Duration};

use crate::observed::sidecars::{ProxyMetrics, Sidecars};

/// What is taken as bad, and how long is looked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// How long the module may take to run.
    pub start: Duration,
    /// How long it is looked at from then on.
    pub window: Duration,
    /// How much the share of 5xx may grow, as a fraction.
    pub errors: f64,
    /// By how many milliseconds requests may become slower in the mean, …
    pub slower: f64,
    /// … or by which factor, after that by which the others became slower in the same time; the
    /// larger of the two counts.
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

/// What is to be done with a canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Look on; with what is seen now.
    Wait(String),
    /// It is good; with what was seen.
    Promote(String),
    /// It is not; with why.
    BackOut(String),
}

/// A canary that is watched.
#[derive(Debug, Clone)]
pub struct Trial {
    limits: Limits,
    /// What the canary's sidecars reported before.
    before: BTreeMap<String, ProxyMetrics>,
    /// What the others reported before.
    others_before: BTreeMap<String, ProxyMetrics>,
    /// For each sidecar since when its VMs are the same, and its report of then.
    settled: BTreeMap<String, (Duration, ProxyMetrics)>,
    /// Of each sidecar in which the module does not run, since when.
    silent: BTreeMap<String, Duration>,
    /// When it first ran in all of them.
    running: Option<Duration>,
}

impl Trial {
    /// Begins with what was reported before the canary.
    #[must_use]
    pub fn new(limits: Limits, before: &Sidecars, others: &Sidecars) -> Self {
        let reports = |sidecars: &Sidecars| {
            sidecars.answers().map(|(pod, report)| (pod.to_owned(), report.clone())).collect()
        };
        Self {
            limits,
            before: reports(before),
            others_before: reports(others),
            settled: BTreeMap::new(),
            silent: BTreeMap::new(),
            running: None,
        }
    }

    /// Takes what is reported at `elapsed` since the start.
    pub fn observe(&mut self, elapsed: Duration, now: &Sidecars, others: &Sidecars) -> Verdict {
        let mut seen = Seen::default();
        for (pod, report) in now.answers() {
            let since = report.since(self.before.get(pod));
            if let Some(why) = self.fault(pod, elapsed, &since) {
                return Verdict::BackOut(format!("{pod}: {why}"));
            }
            seen.add(self.before.get(pod), &since);
        }
        let mut elsewhere = Seen::default();
        for (pod, report) in others.answers() {
            let before = self.others_before.get(pod);
            elsewhere.add(before, &report.since(before));
        }
        let runs = format!("the module runs in {} of {} sidecars", seen.running, now.total);
        // Also while it does not run: Envoy answers 500 for a filter that it could not load.
        if let Some(why) = self.compare(&seen, &elsewhere) {
            return Verdict::BackOut(format!("{why}; {runs}"));
        }
        if let Some(why) = self.overdue(elapsed, now) {
            return Verdict::BackOut(format!("{runs}: {why}"));
        }
        if self.silent.is_empty() && now.total > 0 {
            self.running.get_or_insert(elapsed);
        }
        let told = format!("{runs}, {}", seen.told());
        let end = self.running.map(|running| running + self.limits.window);
        match end.map(|end| end.saturating_sub(elapsed)) {
            Some(left) if left.is_zero() && self.silent.is_empty() => conclude(&seen, told),
            Some(left) => Verdict::Wait(format!("{told}; {} s to go", left.as_secs())),
            None => Verdict::Wait(runs),
        }
    }

    /// Why it has not run somewhere for longer than it may take to start. A Pod that is replaced in
    /// the meantime has that long as well.
    fn overdue(&mut self, elapsed: Duration, now: &Sidecars) -> Option<String> {
        if now.total == 0 && elapsed >= self.limits.start {
            return Some("no sidecar has these labels any more".into());
        }
        self.silent.retain(|pod, _| now.reports.contains_key(pod));
        for (pod, report) in &now.reports {
            let report = report.as_ref().map(|report| report.since(self.before.get(pod)));
            let why = match report {
                Ok(report) if report.lived > 0.0 => {
                    self.silent.remove(pod);
                    continue;
                }
                Ok(report) if report.fetch_failures > 0.0 => {
                    "Istio's agent cannot get it; `kubectl logs` of its istio-proxy says why".into()
                }
                Ok(_) => {
                    "Envoy does not take it; `kubectl logs` of its istio-proxy says why".into()
                }
                Err(error) => format!("it does not answer: {error}"),
            };
            let first = self.running.map_or(Duration::ZERO, |_| elapsed);
            let since = *self.silent.entry(pod.clone()).or_insert(first);
            if elapsed - since >= self.limits.start {
                return Some(format!("{pod}: {why}"));
            }
        }
        None
    }

    /// What is wrong with one sidecar.
    fn fault(&mut self, pod: &str, elapsed: Duration, since: &ProxyMetrics) -> Option<String> {
        if since.refused > 0.0 {
            return Some("the module refuses the table".into());
        }
        // Counters begin anew with a proxy that is restarted.
        let is_same =
            |report: &ProxyMetrics| report.vms == since.vms && report.lived <= since.lived;
        let known = self.settled.get(pod).filter(|(_, report)| is_same(report));
        let Some((at, settled)) = known else {
            self.settled.insert(pod.to_owned(), (elapsed, since.clone()));
            return None;
        };
        // Envoy has a VM for each worker and one for its main thread. Where they were replaced more
        // of them have begun than live (as with `file:`, whose VMs end with their table).
        let vms = since.vms.min(since.threads + 1.0);
        let passed = (elapsed - *at).as_secs_f64();
        let lived = since.lived - settled.lived;
        // A VM counts its life once a second, and the look itself takes a moment.
        if passed * vms - lived > vms * 1.5 + 2.0 {
            return Some(format!(
                "a VM of the module has stopped, most likely by a trap: in {passed:.0} s its {vms} VMs \
                 have lived {lived:.0} s together"
            ));
        }
        let (asked, decided) = (since.requests - settled.requests, since.decided - settled.decided);
        (asked >= ENOUGH && decided < asked / 2.0).then(|| {
            format!("{asked} requests were answered, and the module saw {decided} of them")
        })
    }

    /// What is wrong with all of them together.
    fn compare(&self, seen: &Seen, others: &Seen) -> Option<String> {
        let Limits { errors, slower, factor, .. } = self.limits;
        let (share, allowed) = (seen.share(), seen.past_share().max(others.share()) + errors);
        if seen.errors >= FEW && share > allowed {
            return Some(format!(
                "{:.1} % of its requests got a 5xx, before it were {:.1} % and elsewhere are {:.1} %",
                share * 100.0,
                seen.past_share() * 100.0,
                others.share() * 100.0
            ));
        }
        let (mean, past) = (seen.mean()?, seen.past_mean()?);
        let of_others = others.mean().zip(others.past_mean()).map_or(1.0, |(now, past)| now / past);
        (mean > (past * factor * of_others.max(1.0)).max(past + slower)).then(|| {
            format!("its requests take {mean:.1} ms in the mean, before it they took {past:.1} ms")
        })
    }
}

/// Sums over sidecars.
#[derive(Debug, Default)]
struct Seen {
    running: usize,
    requests: f64,
    errors: f64,
    decided: f64,
    milliseconds: (f64, f64),
    past: ProxyMetrics,
}

impl Seen {
    fn add(&mut self, before: Option<&ProxyMetrics>, since: &ProxyMetrics) {
        self.running += usize::from(since.lived > 0.0);
        self.requests += since.requests;
        self.errors += since.errors;
        self.decided += since.decided;
        self.milliseconds.0 += since.milliseconds.0;
        self.milliseconds.1 += since.milliseconds.1;
        if let Some(before) = before {
            self.past.requests += before.requests;
            self.past.errors += before.errors;
            self.past.milliseconds.0 += before.milliseconds.0;
            self.past.milliseconds.1 += before.milliseconds.1;
        }
    }

    fn share(&self) -> f64 {
        self.errors / self.requests.max(1.0)
    }

    fn past_share(&self) -> f64 {
        self.past.errors / self.past.requests.max(1.0)
    }

    /// Milliseconds; `None` of too few.
    fn mean(&self) -> Option<f64> {
        (self.milliseconds.1 >= ENOUGH).then(|| self.milliseconds.0 / self.milliseconds.1)
    }

    fn past_mean(&self) -> Option<f64> {
        let (sum, count) = self.past.milliseconds;
        (count >= ENOUGH).then(|| sum / count)
    }

    fn told(&self) -> String {
        let mean = self.mean().map(|mean| format!(", {mean:.1} ms in the mean"));
        let (decided, errors) = (self.decided, self.errors);
        format!("decided {decided} requests, {errors} got a 5xx{}", mean.unwrap_or_default())
    }
}

/// At the end of the window, with nothing against it.
fn conclude(seen: &Seen, told: String) -> Verdict {
    if seen.decided > 0.0 {
        return Verdict::Promote(told);
    }
    Verdict::BackOut(
        "it was asked nothing in all that time, so nothing was judged; choose workloads with traffic, or \
         a longer --window"
            .into(),
    )
}

/// So many requests say something of all.
const ENOUGH: f64 = 20.0;
/// Fewer failures than this happen.
const FEW: f64 = 3.0;
