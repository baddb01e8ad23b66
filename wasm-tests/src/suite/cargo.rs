//! The suite's cargo calls.
//!
//! All of them select the workspace's default members and then the targets that they want. With
//! `--package`, cargo would resolve the features of that package alone, and build the dependencies
//! again for each such set of features.

use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{Options, runner::Tally};
use crate::workspace;

/// `cargo SUBCOMMAND --locked` in the checkout.
pub(super) fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(workspace::root()).args([subcommand, "--locked"]);
    command
}

/// `cargo test` for these test programs.
pub(super) fn tests(programs: &[&str], options: Options) -> Command {
    let mut command = cargo("test");
    command.arg("--quiet").args(programs.iter().flat_map(|program| ["--test", program]));
    // Errors say what failed. Backtraces would push them out of the part of the output that CI keeps.
    command.env("RUST_BACKTRACE", "0");
    if options.long {
        command.env("SKYCAP_LONG", "1");
    }
    command
}

/// The unit tests of all crates, and the test programs of the core and of the command.
pub(super) fn unit_tests(options: Options) -> anyhow::Result<Tally> {
    let metadata = metadata(&["--no-deps"])?;
    let programs = test_programs(&metadata, &["skycap-core", "skycap"]);
    ensure!(!programs.is_empty(), "`cargo metadata` lists no test of skycap-core and skycap");
    let mut unit = tests(&programs, options);
    unit.args(["--lib", "--bin", "skycap"]);
    let mut doc = cargo("test");
    doc.args(["--quiet", "--doc"]);
    Ok(Tally::of_runner(&mut unit) + Tally::of_runner(&mut doc))
}

/// What `cargo metadata` prints.
pub(super) fn metadata(args: &[&str]) -> anyhow::Result<Value> {
    let output = cargo("metadata").args(["--format-version", "1"]).args(args).output();
    let output = output.context("cannot run cargo")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim_end());
    serde_json::from_slice(&output.stdout).context("cannot read the output of `cargo metadata`")
}

/// The names of the test programs of these packages.
fn test_programs<'a>(metadata: &'a Value, packages: &[&str]) -> Vec<&'a str> {
    let all = metadata["packages"].as_array().into_iter().flatten();
    let wanted = all.filter(|package| packages.iter().any(|name| package["name"] == *name));
    let targets = wanted.flat_map(|package| package["targets"].as_array().into_iter().flatten());
    targets
        .filter(|target| target["kind"][0] == "test")
        .filter_map(|target| target["name"].as_str())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::test_programs;

    #[test]
    fn only_test_programs_of_the_packages_count() {
        let target = |kind: &str, name: &str| json!({"kind": [kind], "name": name});
        let metadata = json!({"packages": [
            {"name": "core", "targets": [target("lib", "core"), target("test", "laws")]},
            {"name": "tests", "targets": [target("test", "cluster")]},
        ]});
        assert_eq!(test_programs(&metadata, &["core"]), ["laws"]);
    }
}
