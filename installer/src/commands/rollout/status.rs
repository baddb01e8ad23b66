//! `skycap rollout status`.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use kube::Client;
use serde::Serialize;

use super::{look, plugin_name, read};
use crate::{
    commands::{Format, mesh::MeshArgs},
    names::PLUGIN,
    observed::api,
    table::rollout::{Canary, selector_text},
};

/// Show which module serves whom, and what became of the last one
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(flatten)]
    target: MeshArgs,
}

impl StatusArgs {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<ExitCode> {
        let Self { output, target } = self;
        let (_, mesh) = target.meshes(client).await?;
        let state = read(client).await?;
        let canary = state.canary_at(Timestamp::now());
        let trial = match canary {
            Some(Canary { module, selector, until }) => {
                let (now, _) = look(client, selector, &plugin_name(&mesh)).await?;
                let running = now.answers().filter(|(_, report)| report.lived > 0.0).count();
                Some(OnTrial {
                    module: module.clone(),
                    workloads: selector_text(selector),
                    until: *until,
                    sidecars: now.total,
                    running,
                })
            }
            None => None,
        };
        let references = mesh.references();
        let live = api::read(client, &references).await?;
        let answer = Answer {
            module: mesh.module_of(&live).map(str::to_owned),
            trial,
            outcome: state.outcome,
        };
        output.print(&answer, || answer.table())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What `skycap rollout status` says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    module: Option<String>,
    trial: Option<OnTrial>,
    outcome: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OnTrial {
    module: String,
    workloads: String,
    until: Timestamp,
    sidecars: usize,
    running: usize,
}

impl Answer {
    fn table(&self) -> String {
        let none = || format!("none: there is no plugin {PLUGIN}");
        let mut rows = vec![("module", self.module.clone().unwrap_or_else(none))];
        match &self.trial {
            None => rows.push(("on trial", "none".into())),
            Some(OnTrial { module, workloads, until, sidecars, running }) => rows.extend([
                ("on trial", module.clone()),
                ("workloads", format!("{workloads}: runs in {running} of {sidecars} sidecars")),
                ("until", format!("{until:.0}, if nobody decides before")),
            ]),
        }
        rows.extend(self.outcome.clone().map(|outcome| ("the last", outcome)));
        let rows: Vec<_> =
            rows.into_iter().map(|(name, value)| format!("{name:<10} {value}")).collect();
        rows.join("\n")
    }
}
