//! Leader election with a Lease: of several replicas, only the leader writes.
//!
//! [`evaluate`] is pure: it decides what a candidate does about the Lease that it has observed. A
//! Lease ends when a candidate has seen it unchanged for its duration. The times in the Lease are
//! ignored (client-go: tools/leaderelection, `observedTime`), so clocks that differ or jump never
//! lead to two leaders.

use std::{
    mem,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use tokio::{sync::watch, time::timeout};

use crate::{
    names::{LEASE, NAMESPACE},
    observed::causes::causes,
};

/// What a candidate does about the Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Create the Lease, which does not exist, with this candidate as its holder.
    Create,
    /// Write the Lease with a new renewal time: this candidate holds it, or no candidate does.
    Take,
    /// Do nothing: another candidate holds the Lease.
    Wait,
}

/// A Lease, and the time since which it is unchanged.
#[derive(Debug, Clone)]
pub struct Observation {
    lease: Lease,
    since: Instant,
}

/// Decides what the candidate `identity` does; `observed` is `None` if there is no Lease.
#[must_use]
pub fn evaluate(observed: Option<&Observation>, identity: &str, now: Instant) -> Action {
    let Some(Observation { lease, since }) = observed else { return Action::Create };
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let has_ended = now.duration_since(*since) >= seconds.map_or(DURATION, Duration::from_secs);
    if holder.is_empty() || holder == identity || has_ended { Action::Take } else { Action::Wait }
}

/// Until when a candidate may write; `None` while it is not the leader.
///
/// Whoever writes looks at the end of the term before each write, and not only at whether there is a
/// term: a process that was frozen continues before its election task can notice that the Lease has
/// ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Term(Option<Instant>);

impl Term {
    /// Whether the candidate may write now.
    #[must_use]
    pub fn is_running(self) -> bool {
        self.0.is_some_and(|end| Instant::now() < end)
    }
}

/// Waits until the term ends: the Lease is lost or was not renewed in time.
pub(super) async fn term_ends(mut term: watch::Receiver<Term>) {
    loop {
        let Term(Some(end)) = *term.borrow_and_update() else { return };
        tokio::select! {
            () = tokio::time::sleep_until(end.into()) => {
                if *term.borrow() == Term(Some(end)) {
                    return;
                }
            }
            changed = term.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// A candidate in the election.
#[derive(Debug)]
pub struct Candidate {
    api: Api<Lease>,
    identity: String,
    observed: Option<Observation>,
    /// When the Lease was last written by this candidate.
    renewed: Option<Instant>,
}

impl Candidate {
    /// A candidate with this name; no other candidate may have it.
    #[must_use]
    pub fn new(client: Client, identity: String) -> Self {
        let api = Api::namespaced(client, NAMESPACE);
        Self { api, identity, observed: None, renewed: None }
    }

    /// Takes part in the election until `stop` is true, and then releases the Lease. Sends each
    /// change of its term to `terms`.
    pub async fn run(mut self, terms: watch::Sender<Term>, mut stop: watch::Receiver<bool>) {
        loop {
            // A request that takes longer than a renewal must not delay the next one.
            match timeout(RENEWAL, self.attempt()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(error = causes(&error), "cannot renew the Lease");
                }
                Err(_) => tracing::warn!("cannot renew the Lease: the API server does not answer"),
            }
            // It ends one renewal early, because other candidates count from when they saw the
            // Lease.
            let end = self.renewed.map(|at| at + DURATION - RENEWAL);
            let term = Term(end.filter(|end| Instant::now() < *end));
            terms.send_if_modified(|last| mem::replace(last, term) != term);
            tokio::select! {
                () = tokio::time::sleep(RENEWAL) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        if *terms.borrow() != Term(None) {
            terms.send_replace(Term(None));
            match timeout(RENEWAL, self.write("", Duration::from_secs(1))).await {
                Ok(Ok(())) => tracing::info!("Lease released"),
                _ => tracing::warn!("cannot release the Lease; it will expire"),
            }
        }
    }

    async fn attempt(&mut self) -> Result<(), kube::Error> {
        self.observe().await?;
        match evaluate(self.observed.as_ref(), &self.identity, Instant::now()) {
            Action::Wait => {
                self.renewed = None;
                Ok(())
            }
            Action::Create | Action::Take => {
                // The time before the write: other candidates cannot have seen it earlier.
                let start = Instant::now();
                self.write(&self.identity.clone(), DURATION).await?;
                self.renewed = Some(start);
                Ok(())
            }
        }
    }

    async fn observe(&mut self) -> Result<(), kube::Error> {
        let lease = self.api.get_opt(LEASE).await?;
        let version = |lease: &Lease| lease.metadata.resource_version.clone();
        let is_changed =
            lease.as_ref().map(version) != self.observed.as_ref().map(|o| version(&o.lease));
        if is_changed {
            self.observed = lease.map(|lease| Observation { lease, since: Instant::now() });
        }
        Ok(())
    }

    /// Writes the observed version of the Lease. If another candidate has written in between, this
    /// is a conflict.
    async fn write(&mut self, holder: &str, duration: Duration) -> Result<(), kube::Error> {
        let observed = self.observed.as_ref().map(|observation| observation.lease.clone());
        let before = observed.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let is_same = before.holder_identity.as_deref() == Some(holder);
        let now = Some(MicroTime(Timestamp::now()));
        let spec = LeaseSpec {
            holder_identity: Some(holder.into()),
            lease_duration_seconds: i32::try_from(duration.as_secs()).ok(),
            acquire_time: if is_same { before.acquire_time } else { now.clone() },
            renew_time: now,
            lease_transitions: Some(before.lease_transitions.unwrap_or(0) + i32::from(!is_same)),
            ..LeaseSpec::default()
        };
        let lease = match observed {
            Some(lease) => {
                let lease = Lease { spec: Some(spec), ..lease };
                self.api.replace(LEASE, &PostParams::default(), &lease).await?
            }
            None => {
                let metadata = ObjectMeta { name: Some(LEASE.into()), ..ObjectMeta::default() };
                self.api
                    .create(&PostParams::default(), &Lease { metadata, spec: Some(spec) })
                    .await?
            }
        };
        self.observed = Some(Observation { lease, since: Instant::now() });
        Ok(())
    }
}

/// The duration of a Lease: a leader that dies is replaced within this and two renewals.
const DURATION: Duration = Duration::from_secs(9);
/// How often the leader renews the Lease, and other candidates read it.
const RENEWAL: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_when_it_has_no_holder_or_has_ended() {
        let now = Instant::now();
        let seen = |holder: &str, seconds_ago| {
            let spec = LeaseSpec {
                holder_identity: Some(holder.into()),
                lease_duration_seconds: Some(9),
                ..LeaseSpec::default()
            };
            let since = now.checked_sub(Duration::from_secs(seconds_ago)).unwrap_or(now);
            Observation { lease: Lease { spec: Some(spec), ..Lease::default() }, since }
        };
        let cases = [
            (None, Action::Create),
            (Some(seen("me", 1)), Action::Take),
            (Some(seen("", 0)), Action::Take),
            (Some(seen("other", 8)), Action::Wait),
            (Some(seen("other", 9)), Action::Take),
        ];
        for (observed, action) in cases {
            assert_eq!(evaluate(observed.as_ref(), "me", now), action, "{observed:?}");
        }
    }
}
