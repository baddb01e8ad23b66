//! `skycap install`.

mod conflicts;
mod edge;
mod wait;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Args, builder::NonEmptyStringValueParser};
use kube::Client;

use self::{
    conflicts::{reject_foreign, replace_promoted},
    wait::{wait_for_controller, wait_for_sidecars},
};
use super::{
    Globals, Usage,
    duration::parse_duration,
    mesh::{MeshArgs, ModuleArgs},
    print,
    progress::Progress,
    release,
    verify::VerifyArgs,
};
use crate::{
    desired::{
        installation::Installation,
        istio::IstioMesh,
        plan::{Plan, Step},
    },
    module::trial,
    names::{NAMESPACE, SETTINGS},
    objects::{Object, ObjectRef},
    observed::{
        api,
        preflight::{preflight, rights},
        snapshot::read_settings,
    },
    table::meshes::{MeshKind, Meshes},
};

/// Install or upgrade skycap in a cluster with a mesh
///
/// Checks the mesh and your permissions first, and changes nothing if something is missing. Settings
/// that are in the cluster stay as they are.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  \
    skycap install --image registry.example.com/skycap/controller:0.1.0 \\\n    \
    --module-url oci://registry.example.com/skycap/filter:0.1.0\n\n\
    A tag in --module-url is pinned to the digest that it has now.")]
pub struct InstallArgs {
    #[command(flatten)]
    mesh: MeshArgs,
    #[command(flatten)]
    module: ModuleArgs,
    #[command(flatten)]
    verify: VerifyArgs,
    #[command(flatten)]
    image: ImageArgs,
    #[command(flatten)]
    readers: ReadersArgs,
    /// Print what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// How long to wait for the controller and the sidecars; 0 does not wait
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse_duration)]
    wait: Duration,
}

/// The controller's image.
#[derive(Debug, Args)]
pub(super) struct ImageArgs {
    /// Controller's image
    ///
    /// Required, unless this build is a release.
    #[arg(long, env = "SKYCAP_IMAGE", value_name = "IMAGE", value_parser = NonEmptyStringValueParser::new())]
    image: Option<String>,
}

/// Who may read what skycap publishes.
#[derive(Debug, Args)]
pub(super) struct ReadersArgs {
    /// Group that may use `list`, `explain`, `check` and `status`, such as developers
    ///
    /// Binds it to the roles `skycap-reader`, which show the sandboxes of all namespaces, the settings
    /// and the routing objects of the mesh. Without this flag, a binding that exists stays.
    #[arg(long, value_name = "GROUP", value_parser = NonEmptyStringValueParser::new())]
    pub(super) readers: Option<String>,
}

impl ImageArgs {
    /// The image of the flag or of the release, if there is one.
    pub(super) fn given(&self) -> Option<String> {
        self.image.clone().or_else(|| release::IMAGE.map(Into::into))
    }

    /// The image of the flag or of the release. If the module's URL is missing too, the error says
    /// so, because one run should show everything that is missing.
    ///
    /// # Errors
    /// [`Usage::MissingImage`] or [`Usage::MissingImageAndModuleUrl`].
    pub(super) fn image(self, mesh: &MeshArgs, module: &ModuleArgs) -> Result<String, Usage> {
        if let Some(image) = self.given() {
            return Ok(image);
        }
        Err(match mesh.may_be_istio() && module.url().is_none() {
            true => Usage::MissingImageAndModuleUrl,
            false => Usage::MissingImage,
        })
    }
}

impl InstallArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { mesh, module, verify, image, readers, dry_run, wait } = self;
        let image = image.image(&mesh, &module)?;
        let client = globals.connect().await?;
        let (meshes, mut mesh) = module.on_cluster(mesh, &client).await?;
        for line in preflight(&client, &meshes, &mesh).await? {
            anstream::eprintln!("{line}");
        }
        let mut rollout = None;
        if meshes.has(MeshKind::Istio) {
            mesh.module_url = verify.pin(&mesh.module_url).await?;
            if let Some(line) = edge::closing(&client, &mesh).await? {
                anstream::eprintln!("{line}");
            }
            rollout = replace_promoted(&client, &mesh.module_url).await?;
        }
        let (installed, readers) = (mesh.clone(), readers.readers);
        let (access_log, spans) = (false, false);
        let installation = Installation {
            meshes: meshes.clone(),
            mesh: installed,
            image,
            readers,
            access_log,
            spans,
        };
        let plan = plan(&client, &installation).await?;
        print(&plan.to_string())?;
        rights::check(&client, &plan).await?;
        if dry_run {
            return Ok(ExitCode::SUCCESS);
        }
        execute(&plan, &client).await?;
        if let Some(rollout) = rollout {
            trial::write(&client, &rollout).await?;
        }
        compare_settings(&client, &meshes).await?;
        if !wait.is_zero() {
            finish(&client, &meshes, &mesh, Instant::now() + wait).await?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What an installation changes in the cluster.
async fn plan(client: &Client, installation: &Installation) -> anyhow::Result<Plan> {
    let Installation { meshes, mesh, .. } = installation;
    let routing = if meshes.has(MeshKind::Istio) { mesh.references() } else { Vec::new() };
    let mut wanted = installation.objects()?;
    let references: Vec<_> = wanted.iter().map(Object::reference).collect();
    let live = api::read(client, &references).await?;
    // Once the settings are there, they belong to the user.
    wanted.retain(|object| {
        !is_settings(&object.reference()) || !live.contains_key(&object.reference())
    });
    let routing = api::read(client, &routing).await?;
    let named = wanted.iter().filter_map(|object| live.get(&object.reference()));
    reject_foreign(&named.chain(routing.values()).collect::<Vec<_>>())?;
    Ok(Plan::new(wanted, &[], &live))
}

/// Says so if the settings, which `install` leaves alone, name other meshes.
async fn compare_settings(client: &Client, meshes: &Meshes) -> anyhow::Result<()> {
    if let Some(settings) = read_settings(client).await?.filter(|s| s.meshes != *meshes) {
        anstream::eprintln!(
            "hint: skycap is installed for `{meshes}`, but the settings say `mesh: {}` and were not \
             changed; to change them: kubectl -n {NAMESPACE} patch configmap {SETTINGS} --type merge \
             -p '{{\"data\":{{\"mesh\":\"{meshes}\"}}}}'",
            settings.meshes
        );
    }
    Ok(())
}

/// Waits until the installation works, then removes what it replaces: the old plugin serves until the
/// new one does.
async fn finish(
    client: &Client,
    meshes: &Meshes,
    mesh: &IstioMesh,
    deadline: Instant,
) -> anyhow::Result<()> {
    wait_for_controller(client, deadline).await?;
    if meshes.has(MeshKind::Istio) {
        wait_for_sidecars(client, &mesh.plugin_name(), deadline).await?;
        let replaced = mesh.of_other_kind();
        let live = api::read(client, &replaced).await?;
        execute(&Plan::new(Vec::new(), &replaced, &live), client).await?;
    }
    Ok(())
}

/// Executes a plan with progress on stderr.
pub(super) async fn execute(plan: &Plan, client: &Client) -> anyhow::Result<()> {
    let progress = Progress::new("writing");
    let say = |step: &Step| {
        progress.say(&step.reference().to_string());
        Ok(())
    };
    plan.execute(client, say).await
}

fn is_settings(reference: &ObjectRef) -> bool {
    *reference == ObjectRef::config_map(NAMESPACE, SETTINGS)
}
