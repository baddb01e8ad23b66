//! `skycap check`.

use std::process::ExitCode;

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

use super::{Format, Globals, ScopeArgs, files::FileArgs};
use crate::{
    diagnose::check::{Surroundings, check},
    names::DISPATCH_ROUTE,
    observed::snapshot,
    table::{compile::compile, input::Input, manifests::Manifests, policies::PolicyKind, report},
};

/// Find problems that keep requests from reaching their sandbox
///
/// Looks at fragments, Services, EndpointSlices, VirtualServices and Sidecars, and on meshes of the
/// Gateway API also at HTTPRoutes, GRPCRoutes and ServiceProfiles. Each problem comes with what to
/// do. The exit code is 1 if there is a problem.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    skycap check -n shop\n  \
    skycap check -f deploy/examples\n\n\
    With -f, all namespaces are checked unless -n is given.")]
pub struct CheckArgs {
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
}

impl CheckArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { files, scope, output } = self;
        let now = Timestamp::now();
        let (input, surroundings, scope) = if files.are_given() {
            let manifests = files.manifests()?;
            let input = Input::new(&manifests, now);
            let Manifests { services, virtual_services, sidecars, .. } = manifests;
            let surroundings =
                Surroundings { services, virtual_services, sidecars, root_namespace: None };
            (input, surroundings, scope.on_files(globals))
        } else {
            let client = globals.connect().await?;
            let mut input = snapshot::read(&client, now).await?;
            let kinds = PolicyKind::on(&input.meshes());
            input.policies = snapshot::read_policies(&client, &kinds).await?.0;
            (input, read_surroundings(&client).await?, scope.on_cluster(globals, &client))
        };
        let problems = check(&input, &compile(&input, now), &surroundings, &scope);
        let none = || format!("no problems found ({scope})");
        output.print(&problems, || report::problems(&problems).unwrap_or_else(none))?;
        Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}

async fn read_surroundings(client: &Client) -> anyhow::Result<Surroundings> {
    let services = Api::<Service>::all(client.clone());
    let services = services.list(&ListParams::default()).await;
    Ok(Surroundings {
        services: services.context("cannot list Services")?.items,
        virtual_services: list(client, "VirtualService").await?,
        sidecars: list(client, "Sidecar").await?,
        root_namespace: root_namespace(&list(client, "EnvoyFilter").await?),
    })
}

/// Istio's root namespace: the one that has skycap's own EnvoyFilter.
fn root_namespace(filters: &[Value]) -> Option<String> {
    let own = filters.iter().find(|filter| filter["metadata"]["name"] == DISPATCH_ROUTE)?;
    own["metadata"]["namespace"].as_str().map(str::to_owned)
}

/// All objects of one of Istio's kinds; none if the cluster does not serve it.
async fn list(client: &Client, kind: &str) -> anyhow::Result<Vec<Value>> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("networking.istio.io", "v1", kind));
    let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
    match api.list(&ListParams::default()).await {
        Ok(objects) => objects.iter().map(|object| Ok(serde_json::to_value(object)?)).collect(),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot list {kind}s")),
    }
}
