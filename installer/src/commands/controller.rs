//! `skycap controller`.

use std::{net::SocketAddr, process::ExitCode};

use clap::Args;

use super::{
    Globals,
    mesh::{MeshArgs, ModuleArgs},
};
use crate::{controller, controller::Options};

/// Run the controller, which keeps the mesh's table up to date
///
/// `skycap install` deploys it with these flags; nobody needs to run it by hand.
#[derive(Debug, Args)]
pub struct ControllerArgs {
    #[command(flatten)]
    mesh: MeshArgs,
    #[command(flatten)]
    module: ModuleArgs,
    /// Address that serves /healthz, /readyz and /metrics
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Address that serves the rules of queues
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8081")]
    listen_queues: SocketAddr,
    /// Unique name of this replica [default: skycap-PID]
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    identity: Option<String>,
}

impl ControllerArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { mesh, module, listen, listen_queues, identity } = self;
        let client = globals.connect().await?;
        let (meshes, mesh) = module.on_cluster(mesh, &client).await?;
        let identity = identity.unwrap_or_else(|| format!("skycap-{}", std::process::id()));
        controller::run(client, Options { meshes, mesh, identity, listen, listen_queues }).await?;
        Ok(ExitCode::SUCCESS)
    }
}
