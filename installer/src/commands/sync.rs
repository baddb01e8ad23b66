//! `skycap sync`: the controller's work, done once.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;

use super::{
    Globals,
    files::FileArgs,
    mesh::{MeshArgs, ModuleArgs},
    print, print_problems,
};
use crate::{
    desired::{Desired, named_objects},
    module::trial,
    observed::{
        api,
        snapshot::{read, read_policies},
    },
    table::{compile::compile, policies::PolicyKind},
};

/// Compile the routing table and write it to the mesh once
///
/// Reads the cluster's ConfigMaps, Services and EndpointSlices, or with -f files. A running
/// controller does the same continuously, and overwrites a table that differs from its own. The
/// module's flags default to what is in the mesh.
#[derive(Debug, Args)]
#[command(after_help = "Example: skycap sync --dry-run")]
pub struct SyncArgs {
    #[command(flatten)]
    files: FileArgs,
    /// Print what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    mesh: MeshArgs,
    #[command(flatten)]
    module: ModuleArgs,
}

impl SyncArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { files, dry_run, mesh, module } = self;
        let client = globals.connect().await?;
        let (meshes, mesh) = module.over_existing(mesh, &client).await?;
        let now = Timestamp::now();
        let files_given = files.are_given();
        let mut input = if files_given { files.input(now)? } else { read(&client, now).await? };
        let mut live = api::read(&client, &named_objects(&meshes, &mesh)).await?;
        // Also with files: what others have in the cluster counts.
        let (policies, own) = read_policies(&client, &PolicyKind::on(&meshes)).await?;
        live.extend(own);
        input.policies = policies;
        if files_given {
            // A promoted module and a canary stay: files with sandboxes say nothing about them.
            input.set_rollout(trial::read(&client).await?);
        }
        let compilation = compile(&input, now);
        let desired = Desired::new(&meshes, &mesh, &input, &compilation, &live)?;
        print_problems(&desired.report);
        let plan = desired.plan(&live);
        print(&plan.to_string())?;
        if !dry_run {
            plan.execute(&client, |_| Ok(())).await?;
            desired.status_plan(&live).execute(&client, |_| Ok(())).await?;
        }
        Ok(if desired.report.refuses() { ExitCode::from(1) } else { ExitCode::SUCCESS })
    }
}
