//! `skycap status` and `skycap list`.

use crate::names::LEASE;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::ConfigMap};
use kube::{Api, Client};

use super::{Format, Globals, mesh::MeshArgs, progress::Progress};
use crate::{
    desired::{istio::IstioMesh, published::Summary},
    diagnose::status::{Leader, Plugin, Status as Answer, TakenRoutes},
    names::{NAMESPACE, STATUS},
    observed::{api, sidecars::uptake::Uptake, snapshot::read_policies},
    table::{meshes::MeshKind, report::Report},
};

/// Show whether requests are routed, by which table, and what is wrong
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(flatten)]
    target: MeshArgs,
}

/// List the sandboxes and groups, what each routes, and what is wrong
#[derive(Debug, Args)]
pub struct ListArgs {
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

impl StatusArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { output, target } = self;
        let client = api::connect(globals.context.as_deref()).await?;
        let (meshes, mesh) = target.meshes(&client).await?;
        let plugin = match meshes.has(MeshKind::Istio) {
            true => Some(read_plugin(&client, &mesh).await?),
            false => None,
        };
        let http_routes = match meshes.take_http_routes() {
            true => Some(TakenRoutes::of(&read_policies(&client).await?.1)),
            false => None,
        };
        let (summary, report) = read(&client).await?;
        let sidecars = match plugin {
            Some(_) => read_sidecars(&client, &mesh, &summary).await,
            None => None,
        };
        let answer = Answer {
            plugin,
            sidecars,
            http_routes,
            controller: read_office(&client).await?,
            summary,
            problems: report.problems,
        };
        output.print(&answer, || answer.table())?;
        Ok(if answer.is_well() { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}

impl ListArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let client = api::connect(globals.context.as_deref()).await?;
        let report = read_report(&client).await?;
        self.output.print(&report, || report.table())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The report that the controller left.
pub(crate) async fn read_report(client: &Client) -> anyhow::Result<Report> {
    Ok(read(client).await?.1)
}

/// The summary that the controller left.
pub(crate) async fn read_summary(client: &Client) -> anyhow::Result<Summary> {
    Ok(read(client).await?.0)
}

async fn read(client: &Client) -> anyhow::Result<(Summary, Report)> {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let status = maps.get_opt(STATUS).await.context("cannot read the report")?;
    let data = status.and_then(|map| map.data).with_context(|| {
        format!("no report in {NAMESPACE}/{STATUS}: install skycap, or run `skycap sync`")
    })?;
    let text = |name: &str| data.get(name).map(String::as_str).unwrap_or_default();
    let broken = "the report is of another version of skycap; use the same for both";
    Ok((
        serde_json::from_str(text("summary.json")).context(broken)?,
        serde_json::from_str(text("report.json")).context(broken)?,
    ))
}

async fn read_plugin(client: &Client, mesh: &IstioMesh) -> anyhow::Result<Plugin> {
    let references = mesh.references();
    let live = api::read(client, &references).await?;
    let generation = mesh.table_of(&live).and_then(|table| table["generation"].as_str());
    let name = references.first().map(ToString::to_string).unwrap_or_default();
    Ok(Plugin { name, generation: generation.map(str::to_owned) })
}

/// How far the sidecars are; `None`, with a word why, to whom the cluster does not show them.
async fn read_sidecars(client: &Client, mesh: &IstioMesh, summary: &Summary) -> Option<Uptake> {
    let _progress = Progress::new("asking sidecars");
    let uptake = Uptake::read(client, &mesh.plugin_name(), summary.generation.parse().ok()).await;
    uptake.map_err(|error| anstream::eprintln!("the sidecars are not known: {error:#}")).ok()
}

async fn read_office(client: &Client) -> anyhow::Result<Option<Leader>> {
    let leases = Api::<Lease>::namespaced(client.clone(), NAMESPACE);
    let lease = leases.get_opt(LEASE).await.context("cannot read the Lease")?;
    let spec = lease.and_then(|lease| lease.spec);
    Ok(spec.and_then(|spec| {
        let holder = spec.holder_identity.filter(|holder| !holder.is_empty())?;
        let age = Timestamp::now().duration_since(spec.renew_time?.0).as_secs();
        Some(Leader { holder, renewed_seconds_ago: age })
    }))
}
