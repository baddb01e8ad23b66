//! `skycap sync`: the controller's work, done once.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Service},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, api::ListParams};

use super::{install::Target, print, tell};
use crate::{
    api,
    cluster::Cluster,
    commands::Globals,
    compile::compile,
    controller::announce,
    fragments::KIND_LABEL,
    input::Input,
    manifests::Manifests,
    objects::Object,
    plan::Plan,
    settings::{NAME, NAMESPACE},
};

/// Compile the table and write it to the mesh, once
///
/// Reads the cluster's ConfigMaps, Services and EndpointSlices, or files. Where the controller
/// runs it does the same all the time, and takes back what differs from its own table.
#[derive(Debug, Args)]
#[command(after_help = "Example: skycap sync --dry-run")]
pub struct Sync {
    /// Files or folders of Kubernetes YAML instead of the cluster's; `-` reads stdin
    #[arg(short = 'f', long = "filename", value_name = "PATH", num_args = 1..)]
    paths: Vec<PathBuf>,
    /// Print what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    target: Target,
}

impl Sync {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { paths, dry_run, target } = self;
        let client = api::connect(globals.context.as_deref()).await?;
        let mesh = target.mesh(&client).await?;
        let now = Timestamp::now();
        let input = match paths.as_slice() {
            [] => read(&client, now).await?,
            paths => Input::new(&Manifests::read(paths)?, now),
        };
        let compilation = compile(&input, now);
        let report = &compilation.report;
        tell(report);
        let wanted = mesh.objects(&compilation)?;
        let bytes = wanted.iter().map(Object::bytes).max().unwrap_or(0);
        let unwanted = if wanted.is_empty() { Vec::new() } else { mesh.references() };
        let status = announce::status(&compilation, report, bytes)?;
        let wanted: Vec<_> = wanted.into_iter().chain([status]).collect();
        let mut references: Vec<_> = wanted.iter().map(Object::reference).collect();
        references.extend(unwanted.iter().cloned());
        let plan = Plan::new(wanted, &unwanted, &api::read(&client, &references).await?);
        print(&plan.to_string())?;
        if !dry_run {
            plan.execute(&client, |_| {}).await?;
        }
        Ok(if report.refuses() { ExitCode::from(1) } else { ExitCode::SUCCESS })
    }
}

/// All that a table is made of, from the cluster.
///
/// # Errors
/// As the API server says.
pub async fn read(client: &Client, now: Timestamp) -> anyhow::Result<Input> {
    let fragments = ListParams::default().labels(KIND_LABEL);
    let all = ListParams::default();
    let (maps, namespaces, services, slices) = (
        Api::<ConfigMap>::all(client.clone()),
        Api::<Namespace>::all(client.clone()),
        Api::<Service>::all(client.clone()),
        Api::<EndpointSlice>::all(client.clone()),
    );
    let settings = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let (maps, namespaces, services, slices, settings) = tokio::try_join!(
        maps.list(&fragments),
        namespaces.list(&all),
        services.list(&all),
        slices.list(&all),
        settings.get_opt(NAME)
    )?;
    let mut cluster = Cluster::empty();
    for namespace in &namespaces {
        cluster.put_namespace(namespace);
    }
    for service in &services {
        cluster.put_service(service);
    }
    for slice in &slices {
        cluster.put_slice(slice);
    }
    let mut input = Input::empty(cluster);
    for map in maps.iter().chain(&settings) {
        input.put(map, "cluster", now);
    }
    Ok(input)
}
