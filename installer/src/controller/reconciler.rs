//! The loop of the controller: changes arrive, and rounds write what differs.

use std::{collections::BTreeMap, mem, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{Client, runtime::watcher::Event};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tracing::{Instrument as _, Span, field::Empty};

use super::{
    cache::{Cache, Change},
    health::Health,
    lease::{Term, term_ends},
    publisher::Publication,
    queues::Published,
    schedule::Schedule,
    telemetry::Metrics,
    watches::Watches,
};
use crate::{
    desired::{Desired, istio::IstioMesh, plan::Plan},
    objects::{Object, ObjectRef, reference_of},
    observed::causes::causes,
    problem::{Problem, Severity},
    table::{
        compile::{Compilation, compile},
        meshes::Meshes,
    },
};

/// Applies changes to the cache, and writes the desired objects if it is the leader.
pub(super) struct Reconciler {
    pub(super) client: Client,
    pub(super) meshes: Meshes,
    pub(super) mesh: IstioMesh,
    pub(super) watches: Watches,
    /// What is known of the cluster. No round starts before it is complete.
    pub(super) cache: Cache,
    /// The desired objects of the last round.
    pub(super) desired: BTreeMap<ObjectRef, Object>,
    /// Whether the last round left steps to the next one.
    pub(super) is_partial: bool,
    pub(super) schedule: Schedule,
    /// Where the status goes; `None` for nothing to publish.
    pub(super) publications: watch::Sender<Option<Publication>>,
    /// Where the rules of queues go, whether this replica leads or not.
    pub(super) queues: watch::Sender<Published>,
    /// Until when this replica may write.
    pub(super) term: watch::Receiver<Term>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Arc<Health>,
}

impl Reconciler {
    /// Runs until it is aborted.
    pub(super) async fn run(mut self, mut changes: mpsc::Receiver<Change>) -> anyhow::Result<()> {
        let mut term = self.term.clone();
        let mut leads = false;
        loop {
            let wake = self.schedule.wake(Instant::now(), Timestamp::now());
            // No round before all watches have listed their objects.
            let is_complete = self.cache.is_complete();
            tokio::select! {
                change = changes.recv() => {
                    let Some(change) = change else { anyhow::bail!("all watches have ended") };
                    self.apply(change);
                    while let Ok(change) = changes.try_recv() {
                        self.apply(change);
                    }
                    self.watches.start_policies(&self.cache.needed_policies());
                }
                changed = term.changed() => {
                    changed?;
                    let now_leads = term.borrow_and_update().is_running();
                    if mem::replace(&mut leads, now_leads) != now_leads {
                        self.note_leadership(leads);
                    }
                    // Each renewal would start the sleep below anew.
                    if is_complete {
                        self.round().await;
                    }
                }
                () = tokio::time::sleep_until(wake), if is_complete => self.round().await,
            }
        }
    }

    fn note_leadership(&mut self, leads: bool) {
        tracing::info!(leads, "leadership changed");
        self.metrics.leader.set(i64::from(leads));
        self.publications.send_replace(None);
        self.schedule.note_change(Instant::now());
    }

    fn apply(&mut self, change: Change) {
        // The controller caused most changes of skycap's own objects itself.
        let live = match &change {
            Change::Owned(reference, Some(live)) => Some((reference.clone(), live.as_ref())),
            Change::Policy(_, Event::Apply(live)) => Some((reference_of(live), live)),
            _ => None,
        };
        let is_own_write = live.is_some_and(|(reference, live)| {
            self.desired.get(&reference).is_some_and(|object| object.is_in_place(live))
        });
        let is_loss = change.has_no_ready_endpoint();
        match self.cache.apply(change, Timestamp::now()) && !is_own_write {
            true if is_loss => self.schedule.note_loss(Instant::now()),
            true => self.schedule.note_change(Instant::now()),
            false => {}
        }
    }

    /// A round, if one is due.
    async fn round(&mut self) {
        if !self.schedule.is_due(Instant::now(), Timestamp::now()) {
            return;
        }
        self.health.set_listed();
        let leads = self.term.borrow().is_running();
        let now = Timestamp::now();
        let start = std::time::Instant::now();
        let span = tracing::info_span!(
            "reconcile",
            leads,
            rows = Empty,
            bytes = Empty,
            writes = Empty,
            changed = Empty,
        );
        let mut compilation = compile(&self.cache.input, now);
        let compiled = start.elapsed();
        if let Some(rules) = compilation.queues.take() {
            Published::replace(&self.queues, rules);
        }
        let result = async { if leads { self.write(&compilation).await } else { Ok(0) } }
            .instrument(span.clone())
            .await;
        let took = start.elapsed();
        match result {
            Ok(writes) => {
                self.schedule.note_success(Instant::now(), now, compilation.valid_until);
                if mem::take(&mut self.is_partial) {
                    self.schedule.note_change(Instant::now());
                }
                self.metrics.observe(&compilation, took, writes);
                if writes > 0 {
                    let rows = key_count(&compilation);
                    let (compiled, ms) = (compiled.as_millis(), took.as_millis());
                    tracing::info!(parent: &span, rows, writes, compiled, ms, "objects written");
                }
            }
            Err(error) => {
                self.metrics.errors.inc();
                let retry_in = self.schedule.note_failure(Instant::now());
                let error = causes(error.as_ref());
                tracing::warn!(parent: &span, error, ?retry_in, "round failed");
            }
        }
    }

    /// Writes the objects that differ, and passes on the report. Returns the number of writes.
    ///
    /// It stops when the term ends, and does not begin a step after that.
    async fn write(&mut self, compilation: &Compilation) -> anyhow::Result<usize> {
        let live = &self.cache.live;
        let desired = Desired::new(&self.meshes, &self.mesh, &self.cache.input, compilation, live)?;
        let bytes = desired.bytes;
        self.metrics.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        let (plan, is_all) = desired.plan(live).first(HTTP_ROUTES_PER_ROUND);
        let status = desired.status_plan(live);
        let Desired { objects, report, .. } = desired;
        // Not a copy: the table of a full cluster takes 20 MB as a tree of JSON values.
        self.desired = objects.into_iter().map(|object| (object.reference(), object)).collect();
        record(&plan, bytes, key_count(compilation));
        let execution = plan.execute(&self.client, |_| {
            anyhow::ensure!(self.term.borrow().is_running(), "another replica may lead now");
            Ok(())
        });
        let result = tokio::select! {
            result = execution => result,
            () = tokio::time::sleep(ROUND_TIMEOUT) => {
                Err(anyhow::anyhow!("the writes took longer than {} s", ROUND_TIMEOUT.as_secs()))
            }
            () = term_ends(self.term.clone()) => Err(anyhow::anyhow!("the Lease has ended")),
        };
        // The report is written last, and also if a write has failed.
        let is_refused = |problem: &Problem| problem.severity == Severity::Refused;
        let refused = report.problems.into_iter().filter(is_refused).collect();
        let overdue = compilation.overdue.clone();
        self.publications.send_replace(Some(Publication { status, refused, overdue }));
        result?;
        self.is_partial |= !is_all;
        Ok(plan.steps.len())
    }
}

/// Records a plan in the span of the round.
fn record(plan: &Plan, bytes: usize, keys: usize) {
    let span = Span::current();
    // As i64, because OpenTelemetry has no other integers.
    for (name, count) in [("bytes", bytes), ("rows", keys), ("writes", plan.steps.len())] {
        span.record(name, i64::try_from(count).unwrap_or(i64::MAX));
    }
    let names: Vec<_> = plan.steps.iter().map(|step| step.reference().to_string()).collect();
    span.record("changed", names.join(", "));
}

fn key_count(compilation: &Compilation) -> usize {
    compilation.config.as_ref().map_or(0, |config| config.keys.len())
}

/// How many HTTPRoutes one round may write. A mesh takes time for each, and in between the
/// controller must notice when it is no longer the leader.
const HTTP_ROUTES_PER_ROUND: usize = 16;
/// How long the writes of one round may take together.
const ROUND_TIMEOUT: Duration = Duration::from_secs(20);
