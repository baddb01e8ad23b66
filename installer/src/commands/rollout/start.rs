//! `skycap rollout start`.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use anyhow::bail;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use kube::Client;

use super::{conclude, exit_code, plugin_name};
use crate::{
    cli::message,
    commands::{
        duration::parse_duration, mesh::MeshArgs, print, progress::Progress, verify::VerifyArgs,
    },
    module::{
        trial::{Conclusion, look, read, watch, write},
        verdict::{Limits, Trial},
    },
    observed::sidecars::Sidecars,
    table::{
        meshes::MeshKind,
        rollout::{Canary, Rollout, parse_module, parse_selector, selector_text},
    },
};

/// Give a new module to a canary, watch it, and promote it or back it out
///
/// Watches what the canary's sidecars report. The exit code is 0 if the module was promoted and 1 if
/// it was backed out. If this command is stopped, the controller removes the canary when its time is
/// over.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    skycap rollout start --module-url oci://registry.example.com/skycap/filter:0.2.0 \\\n    \
    --canary app=frontend --window 10m")]
pub(super) struct StartArgs {
    /// New module: oci://…, https://… or file:///…
    #[arg(long, value_name = "URL", value_parser = parse_module)]
    module_url: String,
    #[command(flatten)]
    verify: VerifyArgs,
    /// Labels of the workloads that try the module, such as app=frontend
    #[arg(long, value_name = "LABELS", value_parser = parse_selector)]
    canary: BTreeMap<String, String>,
    /// How long to watch the module once it runs
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    window: Duration,
    /// How long the module may take until it runs in every sidecar of the canary
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    start: Duration,
    #[command(flatten)]
    mesh: MeshArgs,
}

impl StartArgs {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<ExitCode> {
        let Self { module_url, verify, canary: selector, window, start, mesh } = self;
        let (meshes, mesh) = mesh.find(client).await?;
        if !meshes.has(MeshKind::Istio) {
            bail!("mesh `{meshes}` has no module to roll out: only Istio's sidecars run one");
        }
        let rollout = read(client).await?;
        if let Some(canary) = rollout.canary_at(Timestamp::now()) {
            bail!(
                "a canary of `{}` is already running: end it first with `skycap rollout promote` or \
                 `skycap rollout abort`",
                canary.module
            );
        }
        let plugin = plugin_name(&mesh);
        let module = verify.pin(&module_url).await?;
        let before = look(client, &selector, &plugin).await?;
        if before.0.total == 0 {
            let labels = selector_text(&selector);
            bail!("no sidecar has the labels `{labels}`; nothing was changed");
        }
        let limits = Limits { start, window, ..Limits::default() };
        let until = Timestamp::now() + SignedDuration::try_from(start + window + GRACE)?;
        let canary = Canary { module: module.clone(), selector: selector.clone(), until };
        write(client, &Rollout { canary: Some(canary), outcome: None, ..rollout.clone() }).await?;
        match judge(client, &selector, &plugin, limits, &before).await {
            Some((promote, why)) => conclude(client, rollout, module, promote, &why).await,
            None => ended_by_another(client, &module).await,
        }
    }
}

/// Watches the canary; returns whether to promote it, and why. `None` if another command has ended it.
async fn judge(
    client: &Client,
    selector: &BTreeMap<String, String>,
    plugin: &str,
    limits: Limits,
    (canary, others): &(Sidecars, Sidecars),
) -> Option<(bool, String)> {
    let progress = Progress::new("watching the canary");
    let trial = Trial::new(limits, canary, others);
    match watch(client, selector, plugin, trial, |seen| progress.say(seen)).await {
        Ok(decision) => decision.map(|Conclusion { promote, reason }| (promote, reason)),
        // A module that cannot be watched must not be promoted.
        Err(error) => Some((false, format!("the canary cannot be watched: {}", message(&error)))),
    }
}

/// Prints what the other command has decided, and changes nothing.
async fn ended_by_another(client: &Client, module: &str) -> anyhow::Result<ExitCode> {
    let rollout = read(client).await?;
    let promoted = rollout.module.as_deref() == Some(module);
    print(&rollout.outcome.unwrap_or_else(|| "another command has ended the canary".into()))?;
    Ok(exit_code(promoted))
}

/// How long the controller waits beyond `--start` and `--window` before it removes the canary.
const GRACE: Duration = Duration::from_secs(60);
