//! `skycap rollout start`, `status`, `promote` and `abort`.

mod status;

use std::{
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, api::PostParams};

use self::status::Status;
use super::{install::pin, print, target::Target};
use crate::{
    api,
    commands::Globals,
    istio::{CANARY, Mesh},
    meshes::MeshKind,
    objects::MANAGER,
    progress::Progress,
    rollout::{
        Canary, NAME, Rollout as State, parse_selector, selector_text,
        verdict::{Limits, Trial, Verdict},
    },
    settings::NAMESPACE,
    sidecars::Sidecars,
};

/// Try a new module on some workloads, and give it to all of them or none
#[derive(Debug, Args)]
pub struct Rollout {
    #[command(subcommand)]
    command: RolloutCommand,
}

#[derive(Debug, Subcommand)]
enum RolloutCommand {
    Start(Start),
    Status(Status),
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
    target: Target,
}

/// Decide by hand
#[derive(Debug, Args)]
struct Decide {}

impl Rollout {
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
        write(client, &State { canary: Some(canary), outcome: None, ..state.clone() }).await?;
        let trial = Trial::new(limits, &before, &others);
        let (promoted, why) = match watch(client, &selector, &plugin, trial).await {
            Ok(Some(verdict)) => verdict,
            Ok(None) => return ended_by_another(client, &module).await,
            // Who cannot see must not promote.
            Err(error) => (false, format!("it could not be watched: {error:#}")),
        };
        conclude(client, state, module, promoted, &why).await
    }
}

/// Looks until there is a verdict; gives whether the module is good, and what was seen. `None` where
/// somebody else has decided.
async fn watch(
    client: &Client,
    selector: &BTreeMap<String, String>,
    plugin: &str,
    mut trial: Trial,
) -> anyhow::Result<Option<(bool, String)>> {
    let begun = Instant::now();
    let progress = Progress::new("watching the canary");
    loop {
        tokio::time::sleep(INTERVAL).await;
        if read(client).await?.canary_at(Timestamp::now()).is_none() {
            return Ok(None);
        }
        let (now, others) = look(client, selector, plugin).await?;
        match trial.observe(begun.elapsed(), &now, &others) {
            Verdict::Wait(seen) => progress.say(&seen),
            Verdict::Promote(seen) => return Ok(Some((true, seen))),
            Verdict::BackOut(why) => return Ok(Some((false, why))),
        }
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
    state: State,
    module: String,
    promoted: bool,
    why: &str,
) -> anyhow::Result<ExitCode> {
    let word = if promoted { "promoted" } else { "backed out" };
    let outcome = format!("{word} {module}: {why}");
    let stays = if promoted { Some(module) } else { state.module };
    write(client, &State { module: stays, canary: None, outcome: Some(outcome.clone()) }).await?;
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

/// What the canary's sidecars report, and what some of the others do.
async fn look(
    client: &Client,
    selector: &BTreeMap<String, String>,
    plugin: &str,
) -> anyhow::Result<(Sidecars, Sidecars)> {
    let canary = Sidecars::read(client, selector, plugin, usize::MAX).await?;
    let mut others = Sidecars::read(client, &BTreeMap::new(), plugin, SAMPLE).await?;
    others.reports.retain(|pod, _| !canary.reports.contains_key(pod));
    Ok((canary, others))
}

/// Which module serves whom, as it is written in the cluster.
pub(super) async fn read(client: &Client) -> anyhow::Result<State> {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let map = maps.get_opt(NAME).await.context("cannot read the rollout")?;
    let state = map.map(|map| State::parse(&map, "cluster")).transpose();
    state.map(Option::unwrap_or_default).map_err(|problem| anyhow::anyhow!("{problem}"))
}

/// Writes it as a whole: what another has put into it must go too, which a server-side apply leaves.
pub(super) async fn write(client: &Client, state: &State) -> anyhow::Result<()> {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let mut map: ConfigMap = serde_json::from_value(state.manifest())?;
    let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    let written = match maps.get_opt(NAME).await.context("cannot read the rollout")? {
        Some(live) => {
            map.metadata.resource_version = live.metadata.resource_version;
            maps.replace(NAME, &params, &map).await
        }
        None => maps.create(&params, &map).await,
    };
    written.map(drop).context("cannot write the rollout")
}

/// What Envoy calls the canary's plugin.
fn plugin_name(mesh: &Mesh) -> String {
    format!("{}.{CANARY}", mesh.root_namespace)
}

/// So often the sidecars are asked.
const INTERVAL: Duration = Duration::from_secs(2);
/// What the controller waits beyond start and window before it ends a canary by itself.
const GRACE: Duration = Duration::from_secs(60);
/// So many of the other sidecars say enough of all.
const SAMPLE: usize = 50;
