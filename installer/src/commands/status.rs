//! `skycap status`.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};

use super::{Format, Globals, mesh::MeshArgs, progress::Progress};
use crate::{
    cli::message,
    desired::{istio::IstioMesh, published::Summary},
    diagnose::status::{Leader, Plugin, RouteCounts, Status},
    names::{LEASE, NAMESPACE},
    observed::{
        api, published::read_published, readiness::Readiness, sidecars::uptake::Uptake,
        snapshot::read_policies,
    },
    problem::printable,
    table::{meshes::MeshKind, policies::PolicyKind},
};

/// Show whether requests are routed, which table is in use, and what is wrong
///
/// Covers the whole cluster. The exit code is 1 if something is wrong.
#[derive(Debug, Args)]
#[command(after_help = "Example: skycap status -o json")]
pub struct StatusArgs {
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
    #[command(flatten)]
    mesh: MeshArgs,
}

impl StatusArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { output, mesh } = self;
        let client = globals.connect().await?;
        let (meshes, mesh) = mesh.find(&client).await?;
        let plugin = match meshes.has(MeshKind::Istio) {
            true => Some(read_plugin(&client, &mesh).await?),
            false => None,
        };
        let http_routes = match meshes.take_http_routes() {
            true => {
                Some(RouteCounts::of(&read_policies(&client, &[PolicyKind::HttpRoute]).await?.1))
            }
            false => None,
        };
        let (summary, report) = read_published(&client).await?;
        let sidecars = match plugin {
            Some(_) => read_sidecars(&client, &mesh, &summary).await,
            None => None,
        };
        let controller = read_leader(&client).await?;
        let problems = report.problems;
        let status = Status { plugin, sidecars, http_routes, controller, summary, problems };
        output.print(&status, || status.table())?;
        Ok(if status.is_well() { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}

async fn read_plugin(client: &Client, mesh: &IstioMesh) -> anyhow::Result<Plugin> {
    let references = mesh.references();
    let live = api::read(client, &references).await?;
    let generation = mesh.table_of(&live).and_then(|table| table["generation"].as_str());
    let name = references.first().map(ToString::to_string).unwrap_or_default();
    let exists = references.first().is_some_and(|plugin| live.contains_key(plugin));
    Ok(Plugin { name, exists, generation: generation.map(str::to_owned) })
}

/// How many sidecars are up to date; `None`, with the reason on stderr, if they cannot be read.
async fn read_sidecars(client: &Client, mesh: &IstioMesh, summary: &Summary) -> Option<Uptake> {
    let _progress = Progress::new("reading the sidecars' metrics");
    let uptake =
        Uptake::read(client, None, &mesh.plugin_name(), summary.generation.parse().ok()).await;
    let warn = |error| {
        anstream::eprintln!("warning: the sidecars' metrics cannot be read: {}", message(&error));
    };
    uptake.map_err(warn).ok()
}

async fn read_leader(client: &Client) -> anyhow::Result<Option<Leader>> {
    let leases = Api::<Lease>::namespaced(client.clone(), NAMESPACE);
    let lease = leases.get_opt(LEASE).await;
    let lease = lease.with_context(|| format!("cannot read Lease {NAMESPACE}/{LEASE}"))?;
    let spec = lease.and_then(|lease| lease.spec);
    let lease = spec.and_then(|spec| Some((printable(&spec.holder_identity?), spec.renew_time?.0)));
    let Some((holder, renewed)) = lease.filter(|(holder, _)| !holder.is_empty()) else {
        return Ok(None);
    };
    let renewed_seconds_ago = seconds_since(renewed, &leases).await?;
    let readiness = Readiness::read(client, &holder).await;
    Ok(Some(Leader { holder, renewed_seconds_ago, readiness }))
}

/// How long ago the Lease was last renewed; `None` if it is not renewed any more.
///
/// Its time is that of the leader's clock, which may differ from this machine's. If it is not a time of
/// the last seconds, this therefore waits for the next renewal.
async fn seconds_since(renewed: Timestamp, leases: &Api<Lease>) -> anyhow::Result<Option<u64>> {
    let seconds = u64::try_from(Timestamp::now().duration_since(renewed).as_secs());
    if let Ok(seconds @ 0..=LEASE_SECONDS) = seconds {
        return Ok(Some(seconds));
    }
    let _progress = Progress::new("waiting for the leader to renew its Lease");
    let deadline = Instant::now() + TWO_RENEWALS;
    while Instant::now() < deadline {
        tokio::time::sleep(POLL).await;
        let lease = leases.get(LEASE).await;
        let lease = lease.with_context(|| format!("cannot read Lease {NAMESPACE}/{LEASE}"))?;
        if lease.spec.and_then(|spec| spec.renew_time).is_none_or(|time| time.0 != renewed) {
            return Ok(Some(0));
        }
    }
    Ok(None)
}

/// Seconds after which a Lease that was not renewed has no holder.
const LEASE_SECONDS: u64 = 10;
/// Within this time, a leader renews its Lease twice.
const TWO_RENEWALS: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(250);
