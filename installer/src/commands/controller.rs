//! `skycap controller`.

use std::{net::SocketAddr, process::ExitCode};

use clap::Args;

use super::{Globals, mesh::MeshArgs};
use crate::{controller, controller::Options, observed::api};

/// Keep the table in the mesh what the cluster's ConfigMaps say (runs in the cluster)
#[derive(Debug, Args)]
pub struct ControllerArgs {
    #[command(flatten)]
    target: MeshArgs,
    /// Where to serve /healthz, /readyz and /metrics
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// This replica's name, no other's [default: the Pod's]
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    identity: Option<String>,
}

impl ControllerArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { target, listen, identity } = self;
        let client = api::connect(globals.context.as_deref()).await?;
        let (meshes, mesh) = target.meshes(&client).await?;
        let identity = identity.unwrap_or_else(|| format!("skycap-{}", std::process::id()));
        controller::run(client, Options { meshes, mesh, identity, listen }).await?;
        Ok(ExitCode::SUCCESS)
    }
}
