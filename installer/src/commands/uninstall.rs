//! `skycap uninstall`.

use std::process::ExitCode;

use clap::Args;

use super::{Globals, install::execute, mesh::MeshArgs, print};
use crate::{
    desired::{installation::Installation, plan::Plan},
    objects::{Object, ObjectRef},
    observed::{api, snapshot::read_policies},
    table::{meshes::MeshKind, policies::PolicyKind},
};

/// Remove skycap from the cluster and keep the sandboxes' ConfigMaps
///
/// Removes the routing first, so that no request is lost.
#[derive(Debug, Args)]
#[command(after_help = "Example: skycap uninstall --dry-run")]
pub struct UninstallArgs {
    #[command(flatten)]
    mesh: MeshArgs,
    /// Print what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
}

impl UninstallArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { mesh, dry_run } = self;
        let client = globals.connect().await?;
        let (meshes, mesh) = mesh.find(&client).await?;
        let is_istio = meshes.has(MeshKind::Istio);
        let mut routing = Vec::new();
        if is_istio {
            routing.extend([mesh.references(), mesh.of_other_kind()].concat());
        }
        let (_, own) = read_policies(&client, &[PolicyKind::HttpRoute]).await?;
        routing.extend(own.into_keys());
        // The optional objects are removed whether they were rendered or not.
        let (access_log, spans) = (is_istio, is_istio);
        let (image, readers) = (String::new(), Some(String::new()));
        let installed = Installation { meshes, mesh, image, readers, access_log, spans };
        let installed: Vec<_> = installed.objects()?.iter().map(Object::reference).collect();
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

/// First the controller's permissions, so that it restores nothing. Then the routing, the plugin
/// before the dispatch route, so that no request names a cluster that nothing routes to. The
/// namespace is last, and the settings and the report go with it.
fn order_of_removal(installed: &[ObjectRef], routing: &[ObjectRef]) -> Vec<ObjectRef> {
    let is_binding = |reference: &&ObjectRef| reference.kind.ends_with("RoleBinding");
    let bindings = installed.iter().filter(is_binding);
    let rest = installed.iter().filter(|reference| !is_binding(reference)).rev();
    bindings.chain(routing).chain(rest).cloned().collect()
}
