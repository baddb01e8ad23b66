//! `skycap sync`: the controller's work, done once.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client,
    api::ListParams,
    core::{DynamicObject, TypeMeta},
};

use super::{install::Target, print, tell};
use crate::{
    api,
    cluster::Cluster,
    commands::Globals,
    compile::compile,
    fragments::KIND_LABEL,
    gateway_api::policies::{Policies, PolicyKind},
    input::Input,
    manifests::Manifests,
    objects::{is_owned, reference_of, resource},
    plan::Live,
    settings::{NAME, NAMESPACE},
    wanted::{Wanted, named_objects},
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
        let (meshes, mesh) = target.meshes(&client).await?;
        let now = Timestamp::now();
        let mut input = match paths.as_slice() {
            [] => read(&client, now).await?,
            paths => Input::new(&Manifests::read(paths)?, now),
        };
        let mut live = api::read(&client, &named_objects(&meshes, &mesh)).await?;
        if meshes.take_http_routes() {
            let (policies, own) = read_policies(&client).await?;
            live.extend(own);
            if paths.is_empty() {
                input.policies = policies;
            }
        }
        let compilation = compile(&input, now);
        let wanted = Wanted::new(&meshes, &mesh, &input, &compilation, &live)?;
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

/// What others say of Services, and skycap's own HTTPRoutes.
///
/// # Errors
/// As the API server says; a kind that it does not serve has no objects.
pub async fn read_policies(client: &Client) -> anyhow::Result<(Policies, Live)> {
    let (mut policies, mut live) = (Policies::default(), Live::new());
    for kind in PolicyKind::ALL {
        let (api_version, name) = kind.names();
        let api = Api::<DynamicObject>::all_with(client.clone(), &resource(api_version, name));
        let objects = match api.list(&ListParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => continue,
            objects => objects.with_context(|| format!("cannot list {name}s"))?,
        };
        for mut object in objects {
            object.types = Some(TypeMeta { api_version: api_version.into(), kind: name.into() });
            policies.put(kind, &object);
            if is_owned(&object) {
                live.insert(reference_of(&object), object);
            }
        }
    }
    Ok((policies, live))
}
