//! `skycap render sandbox`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use crate::{
    commands::{
        Globals, print,
        sandbox_file::{FileArgs, agreed},
        up::{check_not_empty, rejection},
    },
    environment::{
        baseline::Baseline,
        sandbox::{End, Sandbox},
    },
    objects::Object,
    problem::printable_lines,
    table::{cluster::DEFAULT_NAMESPACE, manifests},
};

/// Write the manifests of a sandbox, for a Git repository
///
/// Forks the workloads of the manifests after --from, and connects to no cluster. The objects have no
/// owner: what applies them also removes them.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: skycap render sandbox --set PR=9 --from manifests | kubectl apply -f -"
)]
pub(super) struct SandboxArgs {
    /// Name of the sandbox [default: `sandbox` in the file]
    name: Option<String>,
    #[command(flatten)]
    file: FileArgs,
    /// Manifests of the baseline: files, folders, or - for stdin
    #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
    from: Vec<PathBuf>,
}

impl SandboxArgs {
    pub(super) fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { name, file, from } = self;
        let spec = file.read(name.as_deref(), "")?;
        check_not_empty(&spec, "")?;
        let namespace = agreed(spec.namespace.clone(), globals.namespace.as_ref())?;
        let namespace = namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        let mut objects = manifests::objects(&from)?;
        // A manifest without a namespace is applied to the one of the command.
        objects.retain(|object| {
            object.metadata.namespace.as_ref().is_none_or(|own| *own == namespace)
        });
        for object in &mut objects {
            object.metadata.namespace = Some(namespace.clone());
        }
        let sandbox =
            Sandbox::new(&spec, &namespace, &Baseline::new(objects)).map_err(rejection)?;
        check_resources(&sandbox)?;
        for note in sandbox.all_notes() {
            anstream::eprintln!("note: {}", printable_lines(&note));
        }
        let config_map = sandbox.config_map(true, End::Ttl)?;
        let resources = sandbox.resources.iter().flat_map(|resource| &resource.objects);
        let all = [&config_map].into_iter().chain(resources).chain(sandbox.objects());
        let all: Result<Vec<_>, _> = all.map(yaml).collect();
        print(all?.join("---\n").trim_end())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// # Errors
/// A resource that needs more than manifests.
fn check_resources(sandbox: &Sandbox) -> anyhow::Result<()> {
    for resource in &sandbox.resources {
        let name = &resource.resource;
        anyhow::ensure!(
            resource.secrets.is_empty(),
            "resource `{name}` has random values, which belong into no Git repository; use `skycap \
             up`, or `secretKeyRef` with a Secret of the namespace in the resource"
        );
        anyhow::ensure!(
            !resource.has_delete,
            "resource `{name}` has `delete`, which only a sandbox of `skycap up` runs; use that, or \
             remove `delete` from the resource"
        );
    }
    Ok(())
}

fn yaml(object: &Object) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(object)
}
