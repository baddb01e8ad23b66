//! `skycap rollout start`, `status`, `promote` and `abort`.

mod status;

use crate::module::trial::{look, read, watch, write};
use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use kube::Client;

use self::status::StatusArgs;
use super::{Globals, mesh::MeshArgs, print, progress::Progress};
use crate::{
    desired::istio::IstioMesh,
    module::{
        registry::pin,
        verdict::{Limits, Trial},
    },
    names::CANARY,
    observed::api,
    table::{
        meshes::MeshKind,
        rollout::{Canary, Rollout, parse_selector, selector_text},
    },
};

/// Try a new module on some workloads, and give it to all of them or none
#[derive(Debug, Args)]
pub struct RolloutArgs {
    #[command(subcommand)]
    command: RolloutCommand,
}

#[derive(Debug, Subcommand)]
enum RolloutCommand {
    Start(Start),
    Status(StatusArgs),
    Promote(Decide),
    Abort(Decide),
}

/// Give a module to the canary's workloads, watch what their sidecars report, and promote it or back it out
///
/// Ends with 0 when the module was promoted and with 1 when it was backed out. If this is stopped
/// before, the canary goes by itself when the time for it is over.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: skycap rollout start --image oci://registry.example.com/skycap/filter:0.2.0 \
                        --canary app=frontend"
)]
struct Start {
    /// The new module: oci://…, https://… or file:///…
    #[arg(long, value_name = "URL")]
    image: String,
    /// The labels of the workloads that try it
    #[arg(long, value_name = "LABELS", value_parser = parse_selector)]
    canary: BTreeMap<String, String>,
    /// How many seconds it is watched
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    window: u64,
    /// How many seconds the module may take to run
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    start: u64,
    #[command(flatten)]
    target: MeshArgs,
}

/// Decide by hand
#[derive(Debug, Args)]
struct Decide {}

impl RolloutArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let client = api::connect(globals.context.as_deref()).await?;
        match self.command {
            RolloutCommand::Start(start) => start.run(&client).await,
            RolloutCommand::Status(status) => status.run(&client).await,
            RolloutCommand::Promote(Decide {}) => decide(&client, true).await,
            RolloutCommand::Abort(Decide {}) => decide(&client, false).await,
        }
    }
}

impl Start {
    async fn run(self, client: &Client) -> anyhow::Result<ExitCode> {
        let Self { image, canary: selector, window, start, target } = self;
        let limits = Limits {
            start: Duration::from_secs(start),
            window: Duration::from_secs(window),
            ..Limits::default()
        };
        let (meshes, mesh) = target.meshes(client).await?;
        if !meshes.has(MeshKind::Istio) {
            bail!("the table is for `{meshes}`, where there is no module to roll out");
        }
        let state = read(client).await?;
        if let Some(canary) = state.canary_at(Timestamp::now()) {
            bail!(
                "`{}` is on trial already; end that first with `skycap rollout promote` or `abort`",
                canary.module
            );
        }
        let module = pin(&image).await?;
        let plugin = plugin_name(&mesh);
        let (before, others) = look(client, &selector, &plugin).await?;
        if before.total == 0 {
            bail!("no sidecar has the labels `{}`; nothing is changed", selector_text(&selector));
        }
        let time = limits.start + limits.window + GRACE;
        let until = Timestamp::now() + SignedDuration::try_from(time)?;
        let canary = Canary { module: module.clone(), selector: selector.clone(), until };
        write(client, &Rollout { canary: Some(canary), outcome: None, ..state.clone() }).await?;
        let trial = Trial::new(limits, &before, &others);
        let progress = Progress::new("watching the canary");
        let (promoted, why) =
            match watch(client, &selector, &plugin, trial, |seen| progress.say(seen)).await {
                Ok(Some(verdict)) => verdict,
                Ok(None) => return ended_by_another(client, &module).await,
                // Who cannot see must not promote.
                Err(error) => (false, format!("it could not be watched: {error:#}")),
            };
        conclude(client, state, module, promoted, &why).await
    }
}

/// Says what somebody else has decided, and takes nothing back.
async fn ended_by_another(client: &Client, module: &str) -> anyhow::Result<ExitCode> {
    let state = read(client).await?;
    let promoted = state.module.as_deref() == Some(module);
    print(&state.outcome.unwrap_or_else(|| "ended by somebody else".into()))?;
    Ok(if promoted { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn conclude(
    client: &Client,
    state: Rollout,
    module: String,
    promoted: bool,
    why: &str,
) -> anyhow::Result<ExitCode> {
    let word = if promoted { "promoted" } else { "backed out" };
    let outcome = format!("{word} {module}: {why}");
    let stays = if promoted { Some(module) } else { state.module };
    write(client, &Rollout { module: stays, canary: None, outcome: Some(outcome.clone()) }).await?;
    print(&outcome)?;
    Ok(if promoted { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn decide(client: &Client, promote: bool) -> anyhow::Result<ExitCode> {
    let state = read(client).await?;
    let canary = state.canary_at(Timestamp::now()).cloned();
    let canary = canary.context("no module is on trial; see `skycap rollout status`")?;
    conclude(client, state, canary.module, promote, "by hand").await?;
    Ok(ExitCode::SUCCESS)
}

/// What Envoy calls the canary's plugin.
fn plugin_name(mesh: &IstioMesh) -> String {
    format!("{}.{CANARY}", mesh.root_namespace)
}

/// What the controller waits beyond start and window before it ends a canary by itself.
const GRACE: Duration = Duration::from_secs(60);
