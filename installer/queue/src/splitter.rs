//! A splitter, from its start to its end.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context as _;
use rdkafka::error::KafkaError;
use skycap::serve::{self, Bounds};
use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
};

use crate::{
    board::Board,
    health::{Health, NO_RULES},
    kafka::{
        admission::{Admitted, Refusal, admit},
        adoption::adopt,
        connection::{Connection, Reader},
        observe::Cluster,
        records::Records,
        retirement::retire,
        topics::Topics,
        transaction::KafkaQueue,
    },
    metrics::Metrics,
    mover,
    rules_client::RulesClient,
    settings::Settings,
    steward::Steward,
    telemetry,
};

/// How a splitter runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The controller's URL.
    pub controller: String,
    /// The file of the token for it.
    pub token: PathBuf,
    /// Where health and metrics are served.
    pub listen: SocketAddr,
    /// The unique name of this replica, the same after a restart.
    pub identity: String,
}

/// Moves messages until SIGTERM.
///
/// # Errors
/// If the splitter cannot start, or only a new process can go on.
pub async fn run(settings: Settings, options: Options) -> anyhow::Result<()> {
    let Options { controller, token, listen, identity } = options;
    let settings = Arc::new(settings);
    let metrics = Arc::new(Metrics::default());
    let telemetry = telemetry::start(&metrics, &identity)?;
    let connection = Connection::new(&settings);
    let health = Arc::new(Health::new(connection.context.clone()));
    let (probed, scraped) = (health.clone(), metrics.clone());
    let server = serve::start(listen, BOUNDS, move || probed.check(), move || scraped.text());
    let server = server.await?;
    let board = Arc::new(Board::new(settings.queue.clone()));
    let queue = format!("{}/{}", settings.namespace, settings.name);
    let rules = tokio::spawn(RulesClient::new(&controller, &queue, token)?.run(board.clone()));
    let stop = Arc::new(AtomicBool::new(false));
    let work = Work { settings, connection, health, board, metrics, identity, stop: stop.clone() };
    let runtime = Handle::current();
    // A thread of its own: librdkafka blocks.
    let mut work = tokio::task::spawn_blocking(move || work.run(&runtime));
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let result = tokio::select! {
        result = &mut work => result,
        _ = terminate.recv() => {
            stop.store(true, Ordering::Relaxed);
            work.await
        }
    };
    rules.abort();
    server.abort();
    telemetry.shutdown();
    result.context("the splitter has failed")?
}

/// Retires the queue, once nobody reads any more.
///
/// # Errors
/// If a property is invalid.
pub async fn run_retirement(settings: Settings) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::default());
    let telemetry = telemetry::start(&metrics, "retirement")?;
    let runtime = Handle::current();
    let retired = tokio::task::spawn_blocking(move || {
        let connection = Connection::new(&settings);
        let health = Health::new(connection.context.clone());
        let admitted =
            admitted(&connection, &settings, &health, &runtime, &AtomicBool::new(false))?;
        let partitions = admitted.map_or(0, |admitted| admitted.partitions);
        let mut last = String::new();
        loop {
            let said = match retire(&connection, &settings, partitions) {
                Ok(Ok(())) => return anyhow::Ok(settings),
                Ok(Err(not_yet)) => not_yet.to_string(),
                Err(error) => Refusal::of(&error, &settings, &connection.context).to_string(),
            };
            if said != last {
                tracing::info!("{said}");
            }
            last = said;
            thread::sleep(PAUSE);
        }
    });
    let settings = retired.await.context("the retirement has failed")??;
    tracing::info!(
        "retired: group `{}` goes on at `{}` where the splitter has stopped; start the baseline with it",
        settings.queue.group,
        settings.queue.topic
    );
    telemetry.shutdown();
    Ok(())
}

/// What the blocking part of a splitter needs.
struct Work {
    settings: Arc<Settings>,
    connection: Connection,
    health: Arc<Health>,
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    identity: String,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn run(self, runtime: &Handle) -> anyhow::Result<()> {
        let Self { settings, connection, health, board, metrics, identity, stop } = self;
        while board.rules().is_none() {
            health.wait_for(Some(NO_RULES.into()));
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            thread::sleep(TICK);
        }
        let Some(admitted) = admitted(&connection, &settings, &health, runtime, &stop)? else {
            return Ok(());
        };
        let adopted = retry(&connection, &settings, &health, &stop, || {
            adopt(&connection, &settings, admitted.partitions)
        });
        if adopted.is_none() {
            return Ok(());
        }
        let cluster =
            Cluster::new(settings.clone(), connection.clone(), admitted.clone(), runtime.clone())?;
        let context = connection.context.clone();
        let steward = Steward {
            cluster,
            context,
            board: board.clone(),
            metrics: metrics.clone(),
            unread: settings.queue.unread,
            reported: <_>::default(),
        };
        let id = format!("{}.{identity}", settings.own_group());
        let mut queue = KafkaQueue::open(&connection, &settings, &id, admitted.batch_bytes)
            .context("cannot join the splitters")?;
        health.wait_for(None);
        let looks = thread::spawn({
            let stop = stop.clone();
            move || steward.run(&stop)
        });
        let result = mover::run(&mut queue, &board, &metrics, &stop);
        stop.store(true, Ordering::Relaxed);
        // Without a reason to wait for it: what the steward does is safe to repeat.
        drop(looks);
        Ok(result?)
    }
}

fn admitted(
    connection: &Connection,
    settings: &Settings,
    health: &Health,
    runtime: &Handle,
    stop: &AtomicBool,
) -> anyhow::Result<Option<Admitted>> {
    let records = Records::new(connection, settings).context("cannot make a client for Kafka")?;
    let topics = Topics::new(connection, runtime.clone())?;
    Ok(retry(connection, settings, health, stop, || {
        let admitted = admit(records.client(), &topics, settings);
        hear(records.client());
        admitted
    }))
}

/// Tries until it succeeds; `None` if the splitter stops before. The log and `/readyz` say why it waits.
fn retry<T>(
    connection: &Connection,
    settings: &Settings,
    health: &Health,
    stop: &AtomicBool,
    attempt: impl Fn() -> Result<Result<T, Refusal>, KafkaError>,
) -> Option<T> {
    while !stop.load(Ordering::Relaxed) {
        let refusal = match attempt() {
            Ok(Ok(done)) => return Some(done),
            Ok(Err(refusal)) => refusal,
            Err(error) => Refusal::of(&error, settings, &connection.context),
        };
        if health.wait_for(Some(refusal.to_string())) {
            tracing::warn!("nothing is moved yet: {refusal}");
        }
        thread::sleep(PAUSE);
    }
    None
}

/// Lets librdkafka say why a connection does not work: it does so only when it is polled.
fn hear(client: &Reader) {
    for _ in 0..EVENTS {
        drop(client.poll(Duration::ZERO));
    }
}

/// More than a client says in the time of an attempt.
const EVENTS: usize = 50;
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(50);
/// A few scrapers and the kubelet.
const BOUNDS: Bounds = Bounds {
    connections: 32,
    connection: Duration::from_secs(60),
    last_response: Duration::from_secs(5),
};
