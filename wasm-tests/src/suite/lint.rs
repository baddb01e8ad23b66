//! The tier `lint`: rules for all files, crates and dependencies.

mod layout;
mod msrv;
mod tracked;

use std::{fs, path::PathBuf, process::Command};

use anyhow::Context as _;

pub(super) use self::tracked::tracked_files;
use super::{Options, cargo::cargo, runner::Tally, tool};
use crate::{cluster, module::Toolchain, workspace};

/// Runs all checks, also after one has failed.
pub(super) fn run(options: Options) -> Tally {
    let mut format = Command::new("cargo");
    format.current_dir(workspace::root()).args(["fmt", "--all", "--check"]);
    let mut clippy = cargo("clippy");
    clippy.args(["--quiet", "--all-targets", "--", "--deny", "warnings"]);
    let mut doc = cargo("doc");
    doc.args(["--quiet", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "--deny warnings");
    // Compiled for a minute or two, so it is not among what runs by default.
    let manifests = if options.all || options.ci { manifests() } else { Tally::default() };
    Tally::of_check(&mut format)
        + manifests
        + Tally::of_check(&mut clippy)
        + clippy_of_the_filter()
        + Tally::of_check(&mut doc)
        + dependencies()
        + Tally::of_result("rust-version is what the dependencies need", msrv::check())
        + Tally::of_result("no file is too long", layout::check())
        + Tally::of_result("no binary file is tracked", tracked::check())
}

/// The filter compiles for wasm32 only, and Debian's toolchain has no clippy for it.
fn clippy_of_the_filter() -> Tally {
    let Ok(Toolchain::Installed) = Toolchain::find() else {
        anstream::println!(
            "skipped: clippy of skycap-filter; run `rustup target add wasm32-unknown-unknown`"
        );
        return Tally { skipped: 1, ..Tally::default() };
    };
    let mut clippy = Toolchain::Installed.cargo("clippy", "");
    clippy.args(["--quiet", "--package", "skycap-filter", "--", "--deny", "warnings"]);
    Tally::of_check(&mut clippy)
}

/// `cargo deny` by the rules in deny.toml. Advisories are not among them: a new one must not fail
/// an unrelated change.
fn dependencies() -> Tally {
    match tool::CARGO_DENY.path() {
        Ok(cargo_deny) => Tally::of_check(
            Command::new(cargo_deny)
                .current_dir(workspace::root())
                .args(["--locked", "check", "licenses", "bans", "sources"]),
        ),
        Err(error) => Tally::of_result("cargo deny", Err(error)),
    }
}

/// `kube-score` over the manifests of an installation, but for two checks: controller.yaml says why it
/// does not pass them.
fn manifests() -> Tally {
    match cluster::kube_score().and_then(|program| Ok((program, manifest_files()?))) {
        Ok((kube_score, files)) => Tally::of_check(
            Command::new(kube_score)
                .current_dir(workspace::root())
                .args(["score", "--output-format", "ci", "--kubernetes-version", "v1.30"])
                .args(["--ignore-container-cpu-limit"])
                .args(["--ignore-test", "container-image-pull-policy"])
                .args(files),
        ),
        Err(error) => Tally::of_result("kube-score", Err(error)),
    }
}

/// The files of `deploy/` that a cluster applies.
fn manifest_files() -> anyhow::Result<Vec<PathBuf>> {
    let folder = workspace::root().join("deploy");
    let entries = fs::read_dir(&folder).context("cannot read `deploy`")?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    let is_manifest = |path: &PathBuf| path.extension().is_some_and(|suffix| suffix == "yaml");
    Ok(paths.into_iter().filter(is_manifest).collect())
}
