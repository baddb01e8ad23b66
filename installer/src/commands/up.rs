//! `skycap up`.

mod apply;
mod claim;
mod dry_run;
mod patience;
mod progress;
mod renamed;
mod resources;
mod result;

use std::{collections::BTreeSet, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use kube::{Client, core::DynamicObject};

use self::apply::Application;
pub(super) use self::{patience::Patience, progress::Report};
use super::{
    Globals, Usage,
    duration::parse_duration,
    mesh::MeshArgs,
    print,
    sandbox_file::{self, FileArgs, ForkArgs, LabelArgs},
};
use crate::{
    environment::{
        baseline::Baseline,
        plan::{SandboxPlan, check_repository, needed, recorded},
        sandbox::{End, InvalidSandbox, Sandbox},
        spec::SandboxSpec,
    },
    observed::{
        api::api,
        causes::is_forbidden,
        namespace::{add_existing, defect_of, read_baseline},
        preflight::rights,
        published::read_published,
        resources::{check_deletion, check_scopes},
        snapshot::read_settings,
    },
    table::{expiry, report::FragmentReport},
};

/// Create or update a sandbox: fork workloads, and route its requests to them
///
/// Reads what to fork from a sandbox file, or from --fork. A second `up` updates the sandbox, and
/// removes the forks that you no longer ask for. Everything belongs to one ConfigMap, which `skycap down`
/// deletes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    skycap up --set PR=9 --set IMAGE=registry.example.com/cart:abc123\n  \
    skycap up pr-9 -n shop --fork cart --image registry.example.com/cart:abc123 --ttl 72h")]
pub struct UpArgs {
    /// Name of the sandbox [default: `sandbox` in the file]
    name: Option<String>,
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    forks: ForkArgs,
    #[command(flatten)]
    labels: LabelArgs,
    /// How long the sandbox lives from now on [default: `ttl` in the file, or else for ever]
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    /// Print what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not wait until the forks are ready and their requests are served
    #[arg(long)]
    no_wait: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "3m", value_parser = parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    mesh: MeshArgs,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Output::Table)]
    output: Output,
}

/// How to print the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Text for people
    Table,
    /// JSON for programs, also of a failure
    Json,
}

impl UpArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let (dry_run, output) = (self.dry_run, self.output);
        let (wait, timeout, mesh) = (!self.no_wait, self.timeout, self.mesh.clone());
        if dry_run && output == Output::Json {
            return Err(Usage::DryRunAsJson.into());
        }
        let spec = self.spec()?;
        let client = globals.connect().await?;
        let fragments = read_fragments(&client).await?;
        let namespace = sandbox_file::namespace(spec.namespace.clone(), globals, &client)?;
        let root = mesh.root_namespace();
        let (mut baseline, notes) = read_baseline(&client, &namespace, root, &spec).await?;
        let mut sandbox = match Sandbox::new(&spec, &namespace, &baseline) {
            Ok(sandbox) => sandbox,
            // Nothing is found in a namespace that ends.
            Err(errors) => {
                let defect = defect_of(&client, &namespace).await.map(anyhow::Error::msg);
                return Err(defect.unwrap_or_else(|| rejection(errors)));
            }
        };
        sandbox.notes.extend(notes);
        sandbox.notes.extend(renamed::notes(&client, &sandbox, &fragments).await);
        let live = read_config_map(&client, &sandbox).await?;
        // Another sandbox may have one of the names.
        add_existing(&client, &mut baseline, needed(&sandbox, live.as_ref())).await?;
        let recorded = recorded(&sandbox, &baseline);
        add_existing(&client, &mut baseline, recorded).await?;
        check_scopes(&client, &sandbox).await?;
        check_deletion(&client, &mut sandbox).await?;
        let plan = plan(&sandbox, &baseline, live)?;
        if output == Output::Table {
            print(&result::plan(&sandbox, &plan))?;
        }
        rights::check(&client, &plan.whole()).await?;
        let application = Application { client: &client, sandbox: &sandbox, plan: &plan };
        if dry_run {
            print(&application.dry_run().await?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let settings = read_settings(&client).await;
        let member = result::baggage_member(settings.as_ref().ok().and_then(Option::as_ref));
        let outcome = application.run(wait, timeout, mesh, settings).await;
        let summary = result::summary(&application, &member, &outcome).await;
        if output == Output::Json {
            print(&serde_json::to_string_pretty(&summary).context("cannot write JSON")?)?;
        } else if outcome.is_ok() {
            print(&result::text(&sandbox, &summary))?;
        }
        outcome.map(|_| ExitCode::SUCCESS)
    }

    fn spec(self) -> anyhow::Result<SandboxSpec> {
        let Self { name, file, forks, labels, ttl, .. } = self;
        let mut spec = match (&name, forks.is_empty() || !file.is_default()) {
            (name, true) => file.read(name.as_deref(), ", or `NAME --fork WORKLOAD` instead")?,
            (Some(name), false) => {
                file.check_set(&BTreeSet::new())?;
                SandboxSpec::new(name)?
            }
            (None, false) => return Err(Usage::MissingSandboxName.into()),
        };
        forks.add_to(&mut spec)?;
        labels.add_to(&mut spec);
        if let Some(ttl) = ttl {
            expiry::duration_of(&ttl).context("--ttl")?;
            spec.ttl = Some(ttl);
        }
        check_not_empty(&spec, ", or `--fork WORKLOAD`")?;
        Ok(spec)
    }
}

/// The sandboxes and groups that the controller knows; none for who may not read that.
///
/// # Errors
/// skycap is not installed in the cluster.
async fn read_fragments(client: &Client) -> anyhow::Result<Vec<FragmentReport>> {
    match read_published(client).await {
        Err(error) if is_forbidden(&error) => Ok(Vec::new()),
        published => published.map(|(_, report)| report.fragments),
    }
}

async fn read_config_map(
    client: &Client,
    sandbox: &Sandbox,
) -> anyhow::Result<Option<DynamicObject>> {
    let reference = sandbox.reference();
    let live = api(client, &reference).get_opt(&reference.name).await;
    live.with_context(|| format!("cannot read {reference}"))
}

fn plan(
    sandbox: &Sandbox,
    baseline: &Baseline,
    live: Option<DynamicObject>,
) -> anyhow::Result<SandboxPlan> {
    // The time counts anew from each `up`: a pull request that is worked on does not expire.
    let now = Timestamp::from_second(Timestamp::now().as_second())?;
    let expires = sandbox.spec.ttl.as_ref().map(|ttl| expiry::after(ttl, None, now)).transpose()?;
    check_repository(live.as_ref(), repository().as_deref())?;
    SandboxPlan::new(sandbox, End::At(expires), baseline, live)
}

/// The repository whose CI runs this command; `None` outside of CI.
pub(super) fn repository() -> Option<String> {
    let known = ["GITHUB_REPOSITORY", "CI_PROJECT_PATH"].into_iter();
    known.filter_map(|name| std::env::var(name).ok()).find(|name| !name.is_empty())
}

/// # Errors
/// A sandbox that changes nothing. `instead` is what can be passed in the place of the file's `forks`.
pub(super) fn check_not_empty(spec: &SandboxSpec, instead: &str) -> anyhow::Result<()> {
    anyhow::ensure!(
        !spec.forks.is_empty(),
        "sandbox `{}` forks nothing: expected workloads under `forks`{instead}",
        spec.name
    );
    Ok(())
}

/// All reasons why the sandbox cannot be made, one a line.
pub(super) fn rejection(errors: Vec<InvalidSandbox>) -> anyhow::Error {
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    // First, because an error may end with a question.
    let separator = if errors.len() > 1 { "\n" } else { " " };
    anyhow::anyhow!("nothing was changed:{separator}{}", errors.join("\n"))
}
