//! The tier `wasm`: the core's tests on wasm32, under Node, by wasm-bindgen's test runner.

use std::{fs, process::Command};

use anyhow::Context as _;

use super::{
    runner::{Skip, Tally},
    tool::Tool,
};
use crate::{module::Toolchain, workspace};

pub(super) fn run() -> Result<Tally, Skip> {
    if Command::new("node").arg("--version").output().is_err() {
        return Err(Skip("Node.js is not installed; install version 20 or newer".into()));
    }
    let toolchain = Toolchain::find()?;
    let runner = test_runner()?.path()?;
    // No --quiet: cargo passes it on to the runner, which does not have it.
    let mut command = toolchain.cargo("test", "std,panic_abort,test");
    command
        .args(["--package", "skycap-core", "--lib", "--tests"])
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner);
    Ok(Tally::of_runner(&mut command))
}

/// The test runner, of the version that Cargo.lock has.
pub(super) fn test_runner() -> anyhow::Result<Tool> {
    Ok(Tool::wasm_bindgen_test_runner(locked_version("wasm-bindgen")?))
}

/// The version of a package in Cargo.lock.
fn locked_version(package: &str) -> anyhow::Result<String> {
    let lock = fs::read_to_string(workspace::root().join("Cargo.lock"))?;
    let mut lines = lock.lines().skip_while(|line| *line != format!("name = \"{package}\""));
    let version = lines.nth(1).and_then(|line| line.strip_prefix("version = \""));
    version
        .and_then(|version| version.strip_suffix('"'))
        .map(str::to_owned)
        .with_context(|| format!("Cargo.lock has no package `{package}`"))
}
