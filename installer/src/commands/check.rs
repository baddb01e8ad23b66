//! `skycap check`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client,
    api::ListParams,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;

use super::{Format, Globals};
use crate::{
    diagnose::check::{Surroundings, check},
    observed::{api, snapshot},
    table::{compile::compile, input::Input, manifests::Manifests, report},
};

/// Find what would keep a request from its sandbox, and say what to do
///
/// Looks at fragments, Services, EndpointSlices, VirtualServices and Sidecars, and for meshes of
/// the Gateway API at HTTPRoutes, GRPCRoutes and ServiceProfiles, of the cluster or with -f of
/// files. Exit code 1 when something is found.
#[derive(Debug, Args)]
#[command(after_help = "Example: skycap check -f deploy/examples")]
pub struct CheckArgs {
    /// Files or folders of Kubernetes YAML instead of the cluster's; `-` reads stdin
    #[arg(short = 'f', long = "filename", value_name = "PATH", num_args = 1..)]
    paths: Vec<PathBuf>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

impl CheckArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { paths, output } = self;
        let now = Timestamp::now();
        let (input, surroundings) = match paths.as_slice() {
            [] => {
                let client = api::connect(globals.context.as_deref()).await?;
                let mut input = snapshot::read(&client, now).await?;
                if input.meshes().take_http_routes() {
                    input.policies = snapshot::read_policies(&client).await?.0;
                }
                (input, read(&client).await?)
            }
            paths => {
                let manifests = Manifests::read(paths)?;
                let input = Input::new(&manifests, now);
                let Manifests { services, virtual_services, sidecars, .. } = manifests;
                (input, Surroundings { services, virtual_services, sidecars })
            }
        };
        let problems = check(&input, &compile(&input, now), &surroundings);
        output.print(&problems, || {
            report::problems(&problems).unwrap_or_else(|| "nothing to mend".into())
        })?;
        Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}

async fn read(client: &Client) -> anyhow::Result<Surroundings> {
    let services = Api::<Service>::all(client.clone());
    let services = services.list(&ListParams::default()).await;
    Ok(Surroundings {
        services: services.context("cannot list Services")?.items,
        virtual_services: list(client, "VirtualService").await?,
        sidecars: list(client, "Sidecar").await?,
    })
}

/// All objects of one of Istio's kinds; none where the cluster does not serve it.
async fn list(client: &Client, kind: &str) -> anyhow::Result<Vec<Value>> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("networking.istio.io", "v1", kind));
    let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
    match api.list(&ListParams::default()).await {
        Ok(objects) => objects.iter().map(|object| Ok(serde_json::to_value(object)?)).collect(),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot list {kind}s")),
    }
}
