//! `skycap render`.

mod queue;
mod sandbox;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};

use self::{queue::QueueArgs, sandbox::SandboxArgs};
use super::{
    Globals, Usage,
    install::{ImageArgs, ReadersArgs},
    mesh::{MeshArgs, ModuleArgs},
    print,
};
use crate::{
    desired::{
        chart::chart,
        installation::{File, Installation},
    },
    environment::rights,
    table::meshes::MeshKind,
};

/// Write manifests: of skycap, its Helm chart, a sandbox, a role or a queue
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_value_name = "WHAT")]
#[command(after_help = "Example:\n  \
    skycap render --image registry.example.com/skycap/controller:0.1.0 \\\n    \
    --module-url oci://registry.example.com/skycap/filter:0.1.0 --to deploy\n  \
    kubectl apply --server-side -k deploy\n\n  \
    skycap render --chart --to chart\n  \
    helm install skycap chart --set image=IMAGE --set module.url=URL")]
pub struct RenderArgs {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    mesh: MeshArgs,
    #[command(flatten)]
    module: ModuleArgs,
    #[command(flatten)]
    image: ImageArgs,
    #[command(flatten)]
    readers: ReadersArgs,
    /// Add an EnvoyFilter that makes Istio's proxies log requests that have baggage
    #[arg(long)]
    access_log: bool,
    /// Add a Telemetry that puts the baggage of requests on their spans
    #[arg(long)]
    spans: bool,
    /// Write a Helm chart, in which these flags are values; --image and --module-url are the defaults
    #[arg(long, requires = "to")]
    chart: bool,
    /// Write nothing but this role, for the namespace of --namespace; may be given several times
    #[arg(long, value_enum, value_name = "ROLE", conflicts_with_all = NOT_OF_A_ROLE)]
    role: Vec<RoleName>,
    #[command(flatten)]
    queue: QueueArgs,
    /// Folder to write to [default: all manifests to stdout]
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

/// A role that no part of skycap itself has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoleName {
    /// What `up`, `down`, `wait` and `test` need, for the account of a CI job
    Sandboxes,
    /// What the same account needs for `test --forward`
    Tests,
    /// What the controller needs to run the Jobs of resources with `delete`
    Resources,
}

/// What else can be written.
#[derive(Debug, Subcommand)]
enum What {
    Sandbox(SandboxArgs),
}

impl RenderArgs {
    pub(crate) fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        if let Some(What::Sandbox(sandbox)) = self.what {
            return sandbox.run(globals);
        }
        if !self.role.is_empty() {
            return roles(&self.role, globals, self.mesh);
        }
        let Self { mesh, module, image, readers, access_log, spans, chart, queue, to, .. } = self;
        if let Some(name) = queue.queue.clone() {
            return queue.run(name, image.given(), globals);
        }
        if let Some(folder) = to.as_ref().filter(|_| chart) {
            write_chart(folder, image.given().as_deref(), module.url().as_deref())
                .with_context(|| format!("cannot write to `{}`", folder.display()))?;
            return Ok(ExitCode::SUCCESS);
        }
        let image = image.image(&mesh, &module)?;
        let (meshes, mesh) = module.offline(mesh)?;
        let readers = readers.readers;
        let installation = Installation { meshes, mesh, image, readers, access_log, spans };
        match to {
            None => {
                let texts: anyhow::Result<Vec<_>> = installation.files().iter().map(text).collect();
                print(texts?.join("---\n").trim_end())?;
            }
            Some(folder) => write(&folder, &installation)
                .with_context(|| format!("cannot write to `{}`", folder.display()))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints these roles, and how they are bound.
fn roles(names: &[RoleName], globals: &Globals, mesh: MeshArgs) -> anyhow::Result<ExitCode> {
    let namespace = globals.namespace.as_deref().ok_or(Usage::MissingNamespace)?;
    let (meshes, istio) = mesh.offline();
    let of = |name: &RoleName| match name {
        RoleName::Sandboxes => (rights::ABOUT, rights::sandboxes(namespace, &meshes, &istio)),
        RoleName::Tests => (rights::ABOUT, rights::tests(namespace)),
        RoleName::Resources => (rights::ABOUT_RESOURCES, rights::resources(namespace)),
    };
    let mut files: Vec<File> = Vec::new();
    for (about, objects) in names.iter().map(of) {
        match files.iter_mut().find(|(_, found, _)| *found == about) {
            Some((_, _, found)) => found.extend(objects),
            None => files.push(("", about, objects)),
        }
    }
    let texts: anyhow::Result<Vec<_>> = files.iter().map(text).collect();
    print(texts?.join("---\n").trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn write_chart(folder: &Path, image: Option<&str>, module_url: Option<&str>) -> anyhow::Result<()> {
    fs::create_dir_all(folder.join("templates"))?;
    for (name, text) in chart(image, module_url)? {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

fn write(folder: &Path, installation: &Installation) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let files = installation.files();
    for file in &files {
        fs::write(folder.join(file.0), text(file)?)?;
    }
    let names: Vec<_> = files.iter().map(|(name, ..)| format!("  - {name}\n")).collect();
    let kustomization = format!(
        "# Rendered by the following command. To change a file, run it again with other flags, or put\n\
         # a kustomization over this one.\n\
         {}\
         apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{}",
        command(installation),
        names.concat()
    );
    Ok(fs::write(folder.join("kustomization.yaml"), kustomization)?)
}

/// The command that renders this installation, as a comment of several lines.
fn command(installation: &Installation) -> String {
    let Installation { meshes, mesh, image, readers, access_log, spans } = installation;
    let mut lines = vec![format!("skycap render --mesh {meshes} --image {image}")];
    if meshes.has(MeshKind::Istio) {
        let (_, kind) = mesh.plugin.kind();
        lines.push(format!("--istio-namespace {} --plugin {kind}", mesh.root_namespace));
        lines.push(format!("--module-url {}", mesh.module_url));
        lines.extend(mesh.pull_secret.iter().map(|name| format!("--module-pull-secret {name}")));
    }
    lines.extend(readers.iter().map(|group| format!("--readers {group}")));
    lines.extend(access_log.then(|| "--access-log".to_owned()));
    lines.extend(spans.then(|| "--spans".to_owned()));
    lines.push("--to FOLDER".to_owned());
    format!("#   {}\n", lines.join(" \\\n#     "))
}

fn text((_, about, objects): &File) -> anyhow::Result<String> {
    let texts: Result<Vec<_>, _> = objects.iter().map(serde_saphyr::to_string).collect();
    Ok(format!("# {about}\n{}", texts?.join("---\n")))
}

/// Flags that mean nothing to a role.
const NOT_OF_A_ROLE: [&str; 5] = ["to", "chart", "access_log", "spans", "readers"];
