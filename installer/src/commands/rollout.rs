//! `skycap rollout start`, `status`, `promote` and `abort`.

mod start;
mod status;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use kube::Client;

use self::{start::StartArgs, status::RolloutStatusArgs};
use super::{Globals, print};
use crate::{
    desired::istio::IstioMesh,
    module::trial::{read, write},
    names::CANARY,
    table::rollout::Rollout,
};

/// Try a new module on some workloads before all of them get it
#[derive(Debug, Args)]
pub struct RolloutArgs {
    #[command(subcommand)]
    command: RolloutCommand,
}

#[derive(Debug, Subcommand)]
enum RolloutCommand {
    Start(StartArgs),
    Status(RolloutStatusArgs),
    Promote(PromoteArgs),
    Abort(AbortArgs),
}

/// Give the canary's module to all workloads now
///
/// A `skycap rollout start` that watches the canary ends with exit code 0.
#[derive(Debug, Args)]
struct PromoteArgs {}

/// Remove the canary and keep the current module
///
/// A `skycap rollout start` that watches the canary ends with exit code 1.
#[derive(Debug, Args)]
struct AbortArgs {}

impl RolloutArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let client = globals.connect().await?;
        match self.command {
            RolloutCommand::Start(start) => start.run(&client).await,
            RolloutCommand::Status(status) => status.run(&client).await,
            RolloutCommand::Promote(PromoteArgs {}) => decide(&client, true).await,
            RolloutCommand::Abort(AbortArgs {}) => decide(&client, false).await,
        }
    }
}

/// Ends the canary that is running.
async fn decide(client: &Client, promote: bool) -> anyhow::Result<ExitCode> {
    let rollout = read(client).await?;
    let canary = rollout.canary_at(Timestamp::now()).cloned();
    let canary = canary.context(
        "no canary is running: start one with `skycap rollout start`; `skycap rollout status` shows \
         the last result",
    )?;
    let verb = if promote { "promote" } else { "abort" };
    let why = format!("`skycap rollout {verb}` was run");
    conclude(client, rollout, canary.module, promote, &why).await?;
    Ok(ExitCode::SUCCESS)
}

/// Records the outcome, which the controller then carries out, and prints it.
async fn conclude(
    client: &Client,
    rollout: Rollout,
    module: String,
    promote: bool,
    why: &str,
) -> anyhow::Result<ExitCode> {
    let verb = if promote { "promoted" } else { "backed out" };
    let outcome = format!("{verb} {module}: {why}");
    let module = if promote { Some(module) } else { rollout.module };
    write(client, &Rollout { module, canary: None, outcome: Some(outcome.clone()) }).await?;
    print(&outcome)?;
    Ok(exit_code(promote))
}

fn exit_code(promoted: bool) -> ExitCode {
    if promoted { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// Envoy's name for the canary's plugin.
fn plugin_name(mesh: &IstioMesh) -> String {
    format!("{}.{CANARY}", mesh.root_namespace)
}
