//! Programs that the suite builds from the registry: once, into the cache that all checkouts share.

use std::{
    borrow::Cow,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::{module::run, process::killed_with_parent, progress::Progress, workspace};

/// A program, at a version.
#[derive(Debug)]
pub(super) struct Tool {
    /// The crate.
    package: &'static str,
    version: Cow<'static, str>,
    /// The program, of those that the crate installs.
    program: &'static str,
    /// Whether the crate's own lock file is used.
    locked: bool,
}

pub(super) const CARGO_DENY: Tool = Tool {
    package: "cargo-deny",
    version: Cow::Borrowed("0.20.2"),
    program: "cargo-deny",
    locked: true,
};

pub(super) const CARGO_FUZZ: Tool = Tool {
    package: "cargo-fuzz",
    version: Cow::Borrowed("0.13.2"),
    program: "cargo-fuzz",
    locked: true,
};

impl Tool {
    /// wasm-bindgen's test runner. It works only with tests that were built with the same version.
    ///
    /// Its lock file names a prerelease of `webpki-roots`, which not every mirror of the registry
    /// has.
    pub(super) const fn wasm_bindgen_test_runner(version: String) -> Self {
        let (package, program) = ("wasm-bindgen-cli", "wasm-bindgen-test-runner");
        Self { package, version: Cow::Owned(version), program, locked: false }
    }

    /// The path of the program, which is built if it is not in the cache.
    pub(super) fn path(&self) -> anyhow::Result<PathBuf> {
        static ONE_BUILD_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _lock = ONE_BUILD_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
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
    /// optimisation, no debug information, and no optional features.
    fn build(&self, folder: &Path) -> anyhow::Result<()> {
        // A folder of its own: another cargo that runs now would hold the lock of the usual one.
        let target = workspace::target().join("tools");
        let mut command = killed_with_parent("cargo");
        command
            .args(["install", "--quiet", self.package, "--version", &self.version])
            .args(["--bin", self.program, "--debug", "--no-default-features", "--root"])
            .arg(folder)
            .arg("--target-dir")
            .arg(&target)
            .env("CARGO_PROFILE_DEV_DEBUG", "0");
        if self.locked {
            command.arg("--locked");
        }
        run(&mut command)?;
        Ok(fs::remove_dir_all(target)?)
    }
}
