//! `skycap install`, `uninstall` and `render`.

mod before;
mod wait;

use crate::module::{registry::pin, trial};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use kube::Client;

use self::{
    before::{give_way, refuse_foreign},
    wait::{wait_for_controller, wait_for_sidecars},
};
use super::{Globals, mesh::MeshArgs, print, progress::Progress};
use crate::{
    desired::{
        installation::{File, Installation},
        plan::{Plan, Step},
    },
    names::{NAMESPACE, SETTINGS},
    objects::{Object, ObjectRef},
    observed::{
        api,
        preflight::{preflight, rights},
        snapshot::{read_policies, read_settings},
    },
    table::meshes::MeshKind,
};

/// Install skycap into a cluster with a mesh, or bring an installation up to date
#[derive(Debug, Args)]
#[command(after_help = "Example: skycap install --dry-run")]
pub struct InstallArgs {
    #[command(flatten)]
    target: MeshArgs,
    /// The controller's image
    #[arg(long, env = "SKYCAP_IMAGE", value_name = "IMAGE", default_value = IMAGE)]
    image: String,
    /// Print what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// How many seconds to wait for the controller; 0 does not wait
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    wait: u64,
}

/// Remove skycap: first the routing, then the rest; fragments stay where they are
#[derive(Debug, Args)]
pub struct UninstallArgs {
    #[command(flatten)]
    target: MeshArgs,
    /// Print what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
}

/// Write what `install` would apply, as a kustomize folder
#[derive(Debug, Args)]
#[command(
    after_help = "Example: skycap render --to deploy && kubectl apply --server-side -k deploy"
)]
pub struct RenderArgs {
    #[command(flatten)]
    target: MeshArgs,
    /// The controller's image
    #[arg(long, env = "SKYCAP_IMAGE", value_name = "IMAGE", default_value = IMAGE)]
    image: String,
    /// Also an access log of the requests that have baggage, of Istio's proxies
    #[arg(long)]
    access_log: bool,
    /// Also a Telemetry that puts the baggage of requests on their spans
    #[arg(long)]
    spans: bool,
    /// The folder to write into [default: everything to stdout]
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

impl InstallArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { target, image, dry_run, wait } = self;
        let client = api::connect(globals.context.as_deref()).await?;
        let (meshes, mut mesh) = target.meshes(&client).await?;
        for line in preflight(&client, &meshes, &mesh).await? {
            anstream::eprintln!("{line}");
        }
        if meshes.has(MeshKind::Istio) {
            mesh.module_url = pin(&mesh.module_url).await?;
        }
        let promoted = match meshes.has(MeshKind::Istio) {
            true => give_way(&client, &mesh.module_url).await?,
            false => None,
        };
        let (plugin, routing, others) =
            (mesh.plugin_name(), mesh.references(), mesh.of_other_kind());
        let wanted =
            Installation { meshes: meshes.clone(), mesh, image, access_log: false, spans: false }
                .objects()?;
        let references: Vec<_> = wanted.iter().map(Object::reference).collect();
        let live = api::read(&client, &references).await?;
        // Settings are the user's once they are there.
        let keep = |object: &Object| {
            !is_settings(&object.reference()) || !live.contains_key(&object.reference())
        };
        let wanted: Vec<_> = wanted.into_iter().filter(keep).collect();
        let own = if meshes.has(MeshKind::Istio) { routing } else { Vec::new() };
        let there = api::read(&client, &own).await?;
        let named = wanted.iter().filter_map(|object| live.get(&object.reference()));
        refuse_foreign(&named.chain(there.values()).collect::<Vec<_>>())?;
        let plan = Plan::new(wanted, &[], &live);
        print(&plan.to_string())?;
        rights::check(&client, &plan).await?;
        if dry_run {
            return Ok(ExitCode::SUCCESS);
        }
        execute(&plan, &client).await?;
        if let Some(rollout) = promoted {
            trial::write(&client, &rollout).await?;
        }
        if let Some(settings) = read_settings(&client).await?.filter(|s| s.meshes != meshes) {
            anstream::eprintln!(
                "the settings say `mesh: {}`, and are yours; when you want the table on others: kubectl \
                 -n {NAMESPACE} patch configmap {SETTINGS} --type merge -p '{{\"data\":{{\"mesh\":\"{meshes}\"}}}}'",
                settings.meshes
            );
        }
        if wait > 0 {
            let deadline = Instant::now() + Duration::from_secs(wait);
            wait_for_controller(&client, deadline).await?;
            if meshes.has(MeshKind::Istio) {
                wait_for_sidecars(&client, &plugin, deadline).await?;
                // Last: until the new ones serve, the old ones do.
                let live = api::read(&client, &others).await?;
                execute(&Plan::new(Vec::new(), &others, &live), &client).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl UninstallArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { target, dry_run } = self;
        let client = api::connect(globals.context.as_deref()).await?;
        let (meshes, mesh) = target.meshes(&client).await?;
        let installed = Installation {
            meshes: meshes.clone(),
            mesh: mesh.clone(),
            image: String::new(),
            // Rendered or not: it goes where it is.
            access_log: meshes.has(MeshKind::Istio),
            spans: meshes.has(MeshKind::Istio),
        };
        let installed = installed.objects()?;
        let installed: Vec<_> = installed.iter().map(Object::reference).collect();
        let mut routing = Vec::new();
        if meshes.has(MeshKind::Istio) {
            routing.extend([mesh.references(), mesh.of_other_kind()].concat());
        }
        let (_, own) = read_policies(&client).await?;
        routing.extend(own.into_keys());
        let references = order_of_removal(&installed, &routing);
        let live = api::read(&client, &references).await?;
        let plan = Plan::new(Vec::new(), &references, &live);
        print(&plan.to_string())?;
        if !dry_run {
            execute(&plan, &client).await?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// First the controller's rights, so that it takes nothing back; then the routing, the plugin
/// before its route, so that no request names a cluster to nobody; then the rest, the namespace
/// last, and with it the settings and the report.
fn order_of_removal(installed: &[ObjectRef], mesh: &[ObjectRef]) -> Vec<ObjectRef> {
    let is_binding = |reference: &&ObjectRef| reference.kind.ends_with("RoleBinding");
    let bindings = installed.iter().filter(is_binding);
    let rest = installed.iter().filter(|reference| !is_binding(reference)).rev();
    bindings.chain(mesh).chain(rest).cloned().collect()
}

impl RenderArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { target, image, access_log, spans, to } = self;
        let (meshes, mesh) = target.offline();
        let installation = Installation { meshes, mesh, image, access_log, spans };
        let files = installation.files();
        match to {
            None => {
                let texts: anyhow::Result<Vec<_>> = files.iter().map(text).collect();
                print(texts?.join("---\n").trim_end())?;
            }
            Some(folder) => write(&folder, &files)
                .with_context(|| format!("cannot write into `{}`", folder.display()))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn write(folder: &Path, files: &[File]) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    for file in files {
        fs::write(folder.join(file.0), text(file)?)?;
    }
    let names: Vec<_> = files.iter().map(|(name, ..)| format!("  - {name}\n")).collect();
    let kustomization = format!(
        "# What `skycap render` writes; change it by its flags, or by a kustomization over it.\n\
         apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{}",
        names.concat()
    );
    Ok(fs::write(folder.join("kustomization.yaml"), kustomization)?)
}

fn text((_, about, objects): &File) -> anyhow::Result<String> {
    let texts: Result<Vec<_>, _> = objects.iter().map(serde_saphyr::to_string).collect();
    Ok(format!("# {about}\n{}", texts?.join("---\n")))
}

fn is_settings(reference: &ObjectRef) -> bool {
    reference.kind == "ConfigMap"
        && reference.name == SETTINGS
        && reference.namespace.as_deref() == Some(NAMESPACE)
}

async fn execute(plan: &Plan, client: &Client) -> anyhow::Result<()> {
    let progress = Progress::new("writing");
    plan.execute(client, |step: &Step| progress.say(&step.reference().to_string())).await
}

/// Nothing is published yet, so the default names a registry that is nobody's: give your own.
const IMAGE: &str = concat!("registry.example.com/skycap/controller:", env!("CARGO_PKG_VERSION"));
