//! `skycap controller`: keeps the table in the mesh in line with the cluster's ConfigMaps.
//!
//! 1. `watches` turns what happens in the cluster into changes.
//! 2. [`cache`] applies them to the input of a compile.
//! 3. `reconciler` waits until no change arrives for a moment, compiles, plans, and executes the
//!    plan: only while it is the leader ([`lease`]), and only for objects that differ.
//! 4. `publisher` writes the status and Events about what is rejected, beside the rounds; `queues` serves
//!    the rules of queues; `resources` ends the resources of sandboxes that are gone; `serve` and
//!    [`telemetry`] serve health, metrics, logs and traces.
//!
//! A round depends only on what the watches report, never on the round before. So a controller that
//! starts, becomes the leader or missed a day does the same as one that ran all the time. While the
//! API server is unreachable, the table in the mesh stays as it is, and routing continues.

pub mod cache;
mod deletion;
mod health;
pub mod lease;
mod publisher;
mod queues;
mod reconciler;
mod resources;
mod schedule;
pub mod telemetry;
mod watches;

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

use kube::Client;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinHandle,
};

use self::{
    health::Health,
    lease::{Candidate, Term},
    publisher::Publisher,
    queues::Published,
    reconciler::Reconciler,
    schedule::Schedule,
    telemetry::Metrics,
    watches::Watches,
};
use crate::{
    desired::{istio::IstioMesh, named_objects},
    serve::{self, Bounds},
    table::{meshes::Meshes, policies::PolicyKind},
};

/// The parameters of a controller.
#[derive(Debug, Clone)]
pub struct Options {
    /// The meshes that skycap is installed for: the controller has permissions for these.
    pub meshes: Meshes,
    /// How skycap's objects look on Istio; unused if Istio is not among the meshes.
    pub mesh: IstioMesh,
    /// The name of this replica; no other replica may have it.
    pub identity: String,
    /// The address on which to serve `/healthz`, `/readyz` and `/metrics`.
    pub listen: SocketAddr,
    /// The address on which to serve the rules of queues.
    pub listen_queues: SocketAddr,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// If the controller cannot start. Later failures are retried.
pub async fn run(client: Client, options: Options) -> anyhow::Result<()> {
    let Options { meshes, mesh, identity, listen, listen_queues } = options;
    let health = Arc::new(Health::default());
    let metrics = Arc::new(Metrics::new(health.clone()));
    let telemetry = telemetry::start(&metrics, &identity)?;
    let server = serve_health(listen, health.clone(), metrics.clone()).await?;
    let (queues, rules) = watch::channel(Published::default());
    let queue_server = queues::start(listen_queues, client.clone(), rules).await?;
    let (stop, stopped) = watch::channel(false);
    let (terms, term) = watch::channel(Term::default());
    let candidate = Candidate::new(client.clone(), identity.clone());
    let election = tokio::spawn(candidate.run(terms, stopped));
    let named = named_objects(&meshes, &mesh);
    let (sender, changes) = mpsc::channel(CHANGES);
    let watches = Watches::start(client.clone(), health.clone(), &named, sender);
    tracing::info!(identity, %listen, "controller started");
    let (publications, published) = watch::channel(None);
    let publisher = Publisher::new(client.clone(), term.clone(), metrics.clone());
    let ending = resources::run(client.clone(), term.clone());
    let publishing = tokio::spawn(async { tokio::join!(publisher.run(published), ending) });
    let reconciler = Reconciler {
        client,
        cache: cache::Cache::new(named.len(), PolicyKind::on(&meshes)),
        meshes,
        mesh,
        watches,
        desired: BTreeMap::new(),
        is_partial: false,
        schedule: Schedule::default(),
        publications,
        queues,
        term,
        metrics,
        health,
    };
    let mut work = tokio::spawn(reconciler.run(changes));
    tokio::select! {
        result = termination() => result?,
        ended = &mut work => ended??,
    }
    tracing::info!("controller is stopping");
    // The work ends before the Lease is released, because only the leader may write.
    work.abort();
    publishing.abort();
    stop.send_replace(true);
    election.await?;
    server.abort();
    queue_server.abort();
    telemetry.shutdown();
    Ok(())
}

async fn serve_health(
    listen: SocketAddr,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
) -> anyhow::Result<JoinHandle<()>> {
    serve::start(listen, BOUNDS, move || health.check(), move || metrics.text()).await
}

async fn termination() -> io::Result<()> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// How many changes may wait for the reconciler before the watches pause.
const CHANGES: usize = 1024;
/// A few scrapers and the kubelet.
const BOUNDS: Bounds = Bounds {
    connections: 32,
    connection: Duration::from_secs(120),
    last_response: Duration::from_secs(5),
};
