//! Programs from Go's module proxy, at the versions that the `go.mod` files of `wasm-tests/cluster`
//! pin.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;
use skycap_core::config::Generation;

use crate::{module::run, progress::Progress, workspace};

/// A `go.mod` file of `wasm-tests/cluster`, by the name of its folder.
#[derive(Debug, Clone, Copy)]
pub(super) struct GoModule(pub(super) &'static str);

impl GoModule {
    /// A program of this module: `package`, or, if that is `.`, the one in the folder itself, which is
    /// several programs by the name that it is called by. Built if it is not in the cache.
    pub(super) fn program(self, name: &str, package: &str) -> anyhow::Result<PathBuf> {
        let is_several = package == ".";
        let built = if is_several { self.0 } else { name };
        let folder = workspace::cache()?.join(format!("{built}-{}", self.version(is_several)?));
        if !folder.join(built).is_file() {
            let _progress = Progress::new(&format!("building {built}, once"));
            self.build(package, &folder.join(built))?;
        }
        let program = folder.join(name);
        if !program.exists() {
            // Another process may have made it meanwhile.
            let made = symlink(built, &program);
            made.or_else(|error| if program.exists() { Ok(()) } else { Err(error) })?;
        }
        Ok(program)
    }

    /// Downloads a module that this one requires; returns its folder in Go's module cache.
    pub(super) fn folder_of(self, module: &str) -> anyhow::Result<PathBuf> {
        run(self.go().args(["mod", "download"]).arg(module))?;
        Ok(PathBuf::from(self.list("{{.Dir}}", module)?))
    }

    fn build(self, package: &str, target: &Path) -> anyhow::Result<()> {
        // As their own builds do. Without it the API server calls itself `v0.0.0-master`, which Istio takes
        // for an old one, and Helm 3 renders charts for Kubernetes 1.20.
        let versions = match self.0 {
            "kubernetes" => {
                let version = self.list("{{.Version}}", "k8s.io/kubernetes")?;
                let minor = version.split('.').nth(1).unwrap_or_default();
                format!(
                    "-X k8s.io/component-base/version.gitVersion={version} \
                     -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor={minor}"
                )
            }
            _ => String::new(),
        };
        // Under another name first: so an interrupted build leaves nothing that looks complete.
        let unfinished = target.with_extension(std::process::id().to_string());
        run(self
            .go()
            .args(["build", "-trimpath", "-buildvcs=false", "-ldflags"])
            .arg(format!("-s -w {versions}"))
            .arg("-o")
            .arg(&unfinished)
            .arg(package))?;
        Ok(fs::rename(unfinished, target)?)
    }

    /// The hash of what the program is built from.
    fn version(self, has_own_source: bool) -> anyhow::Result<Generation> {
        let read = |name: &str| {
            let path = self.folder().join(name);
            fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))
        };
        let source = if has_own_source { read("main.go")? } else { Vec::new() };
        Ok(Generation::of(&[read("go.sum")?, source].concat()))
    }

    fn list(self, format: &str, module: &str) -> anyhow::Result<String> {
        let output = self.go().args(["list", "-m", "-f", format, module]).output()?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    fn go(self) -> Command {
        let mut command = Command::new("go");
        command.current_dir(self.folder()).env("CGO_ENABLED", "0");
        command
    }

    fn folder(self) -> PathBuf {
        workspace::root().join("wasm-tests/cluster").join(self.0)
    }
}
