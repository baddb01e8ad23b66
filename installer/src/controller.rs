//! `skycap controller`: keeps the table in the mesh what the cluster's ConfigMaps say.
//!
//! 1. `watches` turns what happens in the cluster into events;
//! 2. [`cache`] folds them into the input of a compile;
//! 3. this module waits until they calm down (50 ms without one, 1 s at most), compiles, plans and
//!    executes: only as the leader ([`lease`]), and only what differs from what is there;
//! 4. [`announce`] tells people: Events on what is refused, and the status ConfigMap;
//!    [`serve`] and [`telemetry`] tell machines.
//!
//! Nothing is remembered between two rounds but what the watches say: a controller that starts,
//! takes over or missed a day does the same as one that was there all the time. When the API
//! server is away the table in the mesh stays as it is, and so does routing.

pub mod announce;
pub mod cache;
pub mod lease;
mod schedule;
pub mod serve;
pub mod telemetry;
mod watches;

use std::{collections::BTreeMap, mem, net::SocketAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{Client, runtime::watcher::Event};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time::Instant,
};
use tracing::Instrument as _;

use self::{
    announce::Announcer,
    cache::{Cache, Change},
    lease::Candidate,
    schedule::Schedule,
    serve::Health,
    telemetry::Metrics,
    watches::Watches,
};
use crate::{
    desired::{Desired, istio::IstioMesh, named_objects},
    objects::{Object, ObjectRef, reference_of},
    table::{
        compile::{Compilation, compile},
        meshes::Meshes,
        policies::PolicyKind,
    },
};

/// What a controller is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which meshes skycap is installed for: it has rights for these.
    pub meshes: Meshes,
    /// Where Istio wants its objects, if it is among them.
    pub mesh: IstioMesh,
    /// This replica's name, no other's.
    pub identity: String,
    /// Where `/healthz`, `/readyz` and `/metrics` are served.
    pub listen: SocketAddr,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start; whatever fails later is tried again.
pub async fn run(client: Client, options: Options) -> anyhow::Result<()> {
    let Options { meshes, mesh, identity, listen } = options;
    let metrics = Arc::new(Metrics::default());
    let telemetry = telemetry::start(&metrics, &identity)?;
    let health = Arc::new(Health::default());
    let server = serve::start(listen, health.clone(), metrics.clone()).await?;
    let (stop, stopped) = watch::channel(false);
    let (leads, leading) = watch::channel(false);
    let candidate = Candidate::new(client.clone(), identity.clone());
    let office = tokio::spawn(candidate.run(leads, stopped.clone()));
    let owned = named_objects(&meshes, &mesh);
    let (events, changes) = mpsc::channel(1024);
    let watches = Watches::start(client.clone(), &owned, events);
    tracing::info!(identity, %listen, "started");
    let kinds = PolicyKind::on(&meshes);
    let reconciler = Reconciler {
        state: Cache::new(owned.len(), kinds),
        wanted: BTreeMap::new(),
        more: false,
        watches,
        kinds,
        schedule: Schedule::default(),
        announcer: Announcer::new(client.clone()),
        client,
        meshes,
        mesh,
        metrics,
        health,
    };
    let mut work = tokio::spawn(reconciler.run(changes, leading));
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = &mut work => ended??,
    }
    tracing::info!("stopping");
    // First the work and then the Lease: who is no longer leader must not write.
    work.abort();
    stop.send_replace(true);
    office.await?;
    server.abort();
    telemetry.shutdown();
    Ok(())
}

struct Reconciler {
    client: Client,
    meshes: Meshes,
    mesh: IstioMesh,
    watches: Watches,
    /// The policies that skycap may read.
    kinds: &'static [PolicyKind],
    /// What the last round wanted.
    wanted: BTreeMap<ObjectRef, Object>,
    /// Whether the last round left something to the next.
    more: bool,
    state: Cache,
    schedule: Schedule,
    announcer: Announcer,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
}

impl Reconciler {
    async fn run(
        mut self,
        mut changes: mpsc::Receiver<Change>,
        mut leading: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        loop {
            let wake = self.schedule.wake(Instant::now(), Timestamp::now());
            // Before all watches have listed what there is, nothing is due.
            let is_complete = self.state.is_complete();
            tokio::select! {
                change = changes.recv() => {
                    let Some(change) = change else { anyhow::bail!("all watches have ended") };
                    self.take(change);
                    while let Ok(change) = changes.try_recv() {
                        self.take(change);
                    }
                    if self.state.wants_policies() {
                        self.watches.start_policies(self.kinds);
                    }
                }
                changed = leading.changed() => {
                    changed?;
                    let leads = *leading.borrow();
                    tracing::info!(leads, "leadership");
                    self.metrics.leader.set(i64::from(leads));
                    self.schedule.note(Instant::now());
                }
                () = tokio::time::sleep_until(wake), if is_complete => {
                    let leads = *leading.borrow();
                    self.round(leads).await;
                }
            }
        }
    }

    fn take(&mut self, change: Change) {
        // Most of what happens to skycap's own objects is skycap's own doing.
        let live = match &change {
            Change::Owned(reference, Some(live)) => Some((reference.clone(), live.as_ref())),
            Change::Policy(_, Event::Apply(live)) => Some((reference_of(live), live)),
            _ => None,
        };
        let is_own_doing = live.is_some_and(|(reference, live)| {
            self.wanted.get(&reference).is_some_and(|wanted| wanted.is_in_place(live))
        });
        if self.state.take(change, Timestamp::now()) && !is_own_doing {
            self.schedule.note(Instant::now());
        }
    }

    /// One round, if it is time for one.
    async fn round(&mut self, leads: bool) {
        if !self.schedule.is_due(Instant::now(), Timestamp::now()) {
            return;
        }
        self.health.set_ready();
        let now = Timestamp::now();
        let begun = std::time::Instant::now();
        let span = tracing::info_span!(
            "reconcile",
            leads,
            rows = tracing::field::Empty,
            bytes = tracing::field::Empty,
            writes = tracing::field::Empty,
            changed = tracing::field::Empty,
        );
        let compilation = compile(&self.state.input, now);
        let compiled = begun.elapsed();
        let valid_until = compilation.valid_until;
        let result = async { if leads { self.write(&compilation).await } else { Ok(0) } }
            .instrument(span.clone())
            .await;
        let took = begun.elapsed();
        match result {
            Ok(writes) => {
                self.schedule.done(now, valid_until);
                if mem::take(&mut self.more) {
                    self.schedule.note(Instant::now());
                }
                self.metrics.observe(&compilation, took, writes);
                if writes > 0 {
                    let rows = compilation.config.as_ref().map_or(0, |config| config.keys.len());
                    let (compiled, ms) = (compiled.as_millis(), took.as_millis());
                    tracing::info!(parent: &span, rows, writes, compiled, ms, "written");
                }
            }
            Err(error) => {
                self.metrics.errors.inc();
                let again = self.schedule.failed(Instant::now());
                tracing::warn!(parent: &span, again_in = ?again, "{error:#}");
            }
        }
    }

    /// Writes what differs, and tells what came of it; gives the number of writes.
    async fn write(&mut self, compilation: &Compilation) -> anyhow::Result<usize> {
        let span = tracing::Span::current();
        let live = &self.state.live;
        let wanted = Desired::new(&self.meshes, &self.mesh, &self.state.input, compilation, live)?;
        let Desired { ref report, bytes, .. } = wanted;
        self.metrics.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        let (plan, is_all) = wanted.plan(live).first(HTTP_ROUTES_PER_ROUND);
        self.wanted = wanted.objects.iter().map(|o| (o.reference(), o.clone())).collect();
        let keys = compilation.config.as_ref().map_or(0, |config| config.keys.len());
        // As i64: OpenTelemetry has no other integers.
        for (name, count) in [("bytes", bytes), ("rows", keys), ("writes", plan.steps.len())] {
            span.record(name, i64::try_from(count).unwrap_or(i64::MAX));
        }
        let names: Vec<_> = plan.steps.iter().map(|step| step.reference().to_string()).collect();
        span.record("changed", names.join(", "));
        tokio::time::timeout(ROUND_TIMEOUT, plan.execute(&self.client, |_| {})).await.map_err(
            |_| anyhow::anyhow!("the API server does not answer in {ROUND_TIMEOUT:?}"),
        )??;
        self.announcer.tell(report).await;
        if !is_all {
            self.more = true;
        }
        Ok(plan.steps.len())
    }
}

/// HTTPRoutes that one round may write: a mesh takes its time for each, and who leads has to look
/// up again and again whether it still does.
const HTTP_ROUTES_PER_ROUND: usize = 16;
/// How long the writes of one round may take together.
const ROUND_TIMEOUT: Duration = Duration::from_secs(20);
