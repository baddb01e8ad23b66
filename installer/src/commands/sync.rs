//! `skycap sync`: the controller's work, done once.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use jiff::Timestamp;

use super::{Globals, mesh::MeshArgs, print, tell};
use crate::{
    desired::{Desired, named_objects},
    observed::{
        api,
        snapshot::{read, read_policies},
    },
    table::{compile::compile, input::Input, manifests::Manifests},
};

/// Compile the table and write it to the mesh, once
///
/// Reads the cluster's ConfigMaps, Services and EndpointSlices, or files. Where the controller
/// runs it does the same all the time, and takes back what differs from its own table.
#[derive(Debug, Args)]
#[command(after_help = "Example: skycap sync --dry-run")]
pub struct SyncArgs {
    /// Files or folders of Kubernetes YAML instead of the cluster's; `-` reads stdin
    #[arg(short = 'f', long = "filename", value_name = "PATH", num_args = 1..)]
    paths: Vec<PathBuf>,
    /// Print what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    target: MeshArgs,
}

impl SyncArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { paths, dry_run, target } = self;
        let client = api::connect(globals.context.as_deref()).await?;
        let (meshes, mesh) = target.meshes(&client).await?;
        let now = Timestamp::now();
        let mut input = match paths.as_slice() {
            [] => read(&client, now).await?,
            paths => Input::new(&Manifests::read(paths)?, now),
        };
        let mut live = api::read(&client, &named_objects(&meshes, &mesh)).await?;
        if meshes.take_http_routes() {
            // Also beside files: what others have in the cluster is not to be written over.
            let (policies, own) = read_policies(&client).await?;
            live.extend(own);
            input.policies = policies;
        }
        let compilation = compile(&input, now);
        let wanted = Desired::new(&meshes, &mesh, &input, &compilation, &live)?;
        let report = &wanted.report;
        tell(report);
        let plan = wanted.plan(&live);
        print(&plan.to_string())?;
        if !dry_run {
            plan.execute(&client, |_| {}).await?;
        }
        Ok(if report.refuses() { ExitCode::from(1) } else { ExitCode::SUCCESS })
    }
}
