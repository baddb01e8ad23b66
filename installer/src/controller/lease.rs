//! Leader election by a Lease: of several replicas one writes.
//!
//! [`evaluate`] is pure: what a candidate is to do about the Lease as it was last seen. A holder
//! is judged by how long its Lease has been seen unchanged and never by its own clock (client-go:
//! tools/leaderelection, `observedTime`), so clocks that differ or jump elect nobody twice.

use crate::names::LEASE;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use tokio::sync::watch;

use crate::names::NAMESPACE;

/// What a candidate is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// There is no Lease: create it with this candidate as its holder.
    Create,
    /// This candidate holds it, or nobody does any more: write it with a new renewal time.
    Take,
    /// Another holds it.
    Wait,
}

/// A Lease as it was seen, and since when it has been seen so.
#[derive(Debug, Clone)]
pub struct Observation {
    lease: Lease,
    since: Instant,
}

/// Judges what was observed.
#[must_use]
pub fn evaluate(observed: Option<&Observation>, identity: &str, now: Instant) -> Action {
    let Some(Observation { lease, since }) = observed else { return Action::Create };
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let is_over = now.duration_since(*since) >= seconds.map_or(DURATION, Duration::from_secs);
    if holder.is_empty() || holder == identity || is_over { Action::Take } else { Action::Wait }
}

/// Takes part in the election until it is stopped, and gives the Lease back then.
#[derive(Debug)]
pub struct Candidate {
    api: Api<Lease>,
    identity: String,
    observed: Option<Observation>,
    /// When the Lease was last written by this candidate.
    renewed: Option<Instant>,
}

impl Candidate {
    /// A candidate of this name, which must be its own.
    #[must_use]
    pub fn new(client: Client, identity: String) -> Self {
        let api = Api::namespaced(client, NAMESPACE);
        Self { api, identity, observed: None, renewed: None }
    }

    /// Runs for office: `leads` tells whether this candidate leads. Ends when `stop` does.
    pub async fn run(mut self, leads: watch::Sender<bool>, mut stop: watch::Receiver<bool>) {
        loop {
            // A request that hangs must not outlive the term.
            let attempt = tokio::time::timeout(RENEWAL, self.attempt()).await;
            match attempt {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(error = %error, "cannot renew the Lease"),
                Err(_) => tracing::warn!("the API server does not answer for the Lease"),
            }
            // One renewal less than the term: whoever waits counts from what it has seen.
            let in_office = self.renewed.is_some_and(|at| at.elapsed() < DURATION - RENEWAL);
            leads.send_if_modified(|leads| std::mem::replace(leads, in_office) != in_office);
            tokio::select! {
                () = tokio::time::sleep(RENEWAL) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        if *leads.borrow() {
            leads.send_replace(false);
            match tokio::time::timeout(RENEWAL, self.write("", Duration::from_secs(1))).await {
                Ok(Ok(())) => tracing::info!("gave the Lease back"),
                _ => tracing::warn!("cannot give the Lease back, it ends by itself"),
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
                let begun = Instant::now();
                self.write(&self.identity.clone(), DURATION).await?;
                self.renewed = Some(begun);
                Ok(())
            }
        }
    }

    async fn observe(&mut self) -> Result<(), kube::Error> {
        let lease = self.api.get_opt(LEASE).await?;
        let version = |lease: &Lease| lease.metadata.resource_version.clone();
        let is_news =
            lease.as_ref().map(version) != self.observed.as_ref().map(|o| version(&o.lease));
        if is_news {
            self.observed = lease.map(|lease| Observation { lease, since: Instant::now() });
        }
        Ok(())
    }

    /// Writes the Lease as last observed: another who was faster makes that a conflict.
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

/// How long a Lease holds: a replica that dies is followed within this and two renewals.
const DURATION: Duration = Duration::from_secs(9);
/// How often it is renewed, or looked at.
const RENEWAL: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_when_nobody_holds_it_any_more() {
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
