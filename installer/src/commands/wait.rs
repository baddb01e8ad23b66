//! `skycap wait`.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use kube::Client;

use super::{Format, Globals, duration::parse_duration, mesh::MeshArgs, progress::Progress};
use crate::{
    desired::istio::IstioMesh,
    observed::served::{Awaited, Served},
    table::meshes::Meshes,
};

/// Wait until the requests of a sandbox or group are served
///
/// Waits for the controller and for the proxies of the mesh. What you may not read is not waited for,
/// and a note says so. The exit code is 1 if there is no such sandbox, or if it is not served in time.
#[derive(Debug, Args)]
#[command(after_help = "Example: skycap wait pr-123 -n shop --timeout 60s")]
pub struct WaitArgs {
    #[command(flatten)]
    sandbox: AwaitedArgs,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
}

/// Which sandbox to wait for, and for how long.
#[derive(Debug, Args)]
pub(super) struct AwaitedArgs {
    /// Name of the sandbox's or group's ConfigMap
    pub(super) name: String,
    /// How long to wait until it is served
    #[arg(long, value_name = "DURATION", default_value = "120s", value_parser = parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    mesh: MeshArgs,
}

impl WaitArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { sandbox, output } = self;
        let client = globals.connect().await?;
        let (served, ..) = sandbox.until_served(globals, &client).await?;
        output.print(&served, || {
            let Served { namespace, name, key, .. } = &served;
            format!("{namespace}/{name} is served with key {key}: {}", served.summary())
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

impl AwaitedArgs {
    /// Waits until it is served, and prints what could not be checked. Returns the meshes too.
    pub(super) async fn until_served(
        self,
        globals: &Globals,
        client: &Client,
    ) -> anyhow::Result<(Served, Meshes, IstioMesh)> {
        let Self { name, timeout, mesh } = self;
        let (meshes, istio) = mesh.find(client).await?;
        let namespace = globals.namespace(client);
        let awaited = Awaited { namespace, name: &name, meshes: &meshes, istio: &istio };
        let progress = Progress::new("waiting for the sandbox");
        let served = awaited.until_served(client, timeout, |why| progress.say(why)).await?;
        drop(progress);
        for note in &served.notes {
            anstream::eprintln!("note: {note}");
        }
        Ok((served, meshes, istio))
    }
}
