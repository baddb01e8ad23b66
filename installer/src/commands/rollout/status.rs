//! `skycap rollout status`.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use kube::Client;
use serde::Serialize;

use super::plugin_name;
use crate::{
    commands::{Format, mesh::MeshArgs},
    module::trial::{look, read},
    names::PLUGIN,
    observed::api,
    table::rollout::{Canary, selector_text},
};

/// Show the current module, the canary and the last result
#[derive(Debug, Args)]
#[command(after_help = "Example: skycap rollout status -o json")]
pub(super) struct RolloutStatusArgs {
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
    #[command(flatten)]
    mesh: MeshArgs,
}

impl RolloutStatusArgs {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<ExitCode> {
        let Self { output, mesh } = self;
        let (_, mesh) = mesh.find(client).await?;
        let rollout = read(client).await?;
        let trial = match rollout.canary_at(Timestamp::now()) {
            Some(canary) => Some(OnTrial::read(client, canary, &plugin_name(&mesh)).await?),
            None => None,
        };
        let live = api::read(client, &mesh.references()).await?;
        let module = mesh.module_of(&live).map(str::to_owned);
        let answer = RolloutStatus { module, trial, outcome: rollout.outcome };
        output.print(&answer, || answer.table())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What `skycap rollout status` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RolloutStatus {
    module: Option<String>,
    trial: Option<OnTrial>,
    outcome: Option<String>,
}

/// The canary that is running.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OnTrial {
    module: String,
    workloads: String,
    until: Timestamp,
    sidecars: usize,
    running: usize,
}

impl OnTrial {
    async fn read(client: &Client, canary: &Canary, plugin: &str) -> anyhow::Result<Self> {
        let Canary { module, selector, until } = canary;
        let (sidecars, _) = look(client, selector, plugin).await?;
        let running = sidecars.answers().filter(|(_, report)| report.vm_seconds > 0.0).count();
        Ok(Self {
            module: module.clone(),
            workloads: selector_text(selector),
            until: *until,
            sidecars: sidecars.total,
            running,
        })
    }
}

impl RolloutStatus {
    fn table(&self) -> String {
        let none = || format!("none: there is no plugin {PLUGIN}");
        let mut rows = vec![("module", self.module.clone().unwrap_or_else(none))];
        match &self.trial {
            None => rows.push(("canary", "none".into())),
            Some(OnTrial { module, workloads, until, sidecars, running }) => rows.extend([
                ("canary", module.clone()),
                ("workloads", format!("{workloads}: runs in {running} of {sidecars} sidecars")),
                ("ends", format!("{until:.0} unless promoted before")),
            ]),
        }
        rows.extend(self.outcome.clone().map(|outcome| ("last result", outcome)));
        let rows: Vec<_> =
            rows.into_iter().map(|(name, value)| format!("{name:<12} {value}")).collect();
        rows.join("\n")
    }
}
