//! Programs that the suite builds from the registry: once, into the cache that all checkouts share.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{module::run, progress::Progress, workspace};

/// A program, at a version.
pub(super) struct Tool<'a> {
    /// The crate.
    package: &'a str,
    version: &'a str,
    /// The program, of those that the crate installs.
    program: &'a str,
    /// Whether the crate's own lock file is used.
    locked: bool,
}

pub(super) const CARGO_DENY: Tool<'_> =
    Tool { package: "cargo-deny", version: "0.20.2", program: "cargo-deny", locked: true };

pub(super) const CARGO_FUZZ: Tool<'_> =
    Tool { package: "cargo-fuzz", version: "0.13.2", program: "cargo-fuzz", locked: true };

impl<'a> Tool<'a> {
    /// wasm-bindgen's test runner. It works only with tests that were built with the same version.
    ///
    /// Its lock file names a prerelease of `webpki-roots`, which not every mirror of the registry has.
    pub(super) const fn wasm_bindgen_test_runner(version: &'a str) -> Self {
        let (package, program) = ("wasm-bindgen-cli", "wasm-bindgen-test-runner");
        Self { package, version, program, locked: false }
    }

    /// The path of the program, which is built if it is not in the cache.
    pub(super) fn path(&self) -> anyhow::Result<PathBuf> {
        let Self { package, version, program, locked: _ } = self;
        let folder = workspace::cache()?.join(format!("{package}-{version}"));
        // Cargo writes this file after the programs.
        if !folder.join(".crates.toml").is_file() {
            let _progress = Progress::new(&format!("building {package} {version}, once"));
            self.build(&folder)?;
        }
        Ok(folder.join("bin").join(program))
    }

    /// Each program runs for seconds, so what counts is the time that the compiler takes: no
    /// optimisation, no debug information, no optional features, and one folder for what the
    /// programs have in common.
    fn build(&self, folder: &Path) -> anyhow::Result<()> {
        let mut command = Command::new("cargo");
        command
            .args(["install", "--quiet", self.package, "--version", self.version])
            .args(["--bin", self.program, "--debug", "--no-default-features", "--root"])
            .arg(folder)
            .arg("--target-dir")
            .arg(workspace::target().join("tools"))
            .env("CARGO_PROFILE_DEV_DEBUG", "0");
        if self.locked {
            command.arg("--locked");
        }
        run(&mut command)
    }
}
