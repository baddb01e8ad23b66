//! The tiers with a control plane or a broker: real programs, in a network namespace of their own if possible.

use std::process::Command;

use anyhow::Context as _;

use super::{
    Options, cargo,
    runner::{Skip, Tally},
};
use crate::{
    cluster, envoy, fixture, kafka,
    module::{self, run},
};

/// The tier `queue`. Each test has brokers of its own.
pub(super) fn queue(options: Options) -> Result<Tally, Skip> {
    kafka::obtain()?;
    run_prepared("queue", "2", options)
}

/// The tier `cluster`.
pub(super) fn cluster(options: Options) -> Result<Tally, Skip> {
    cluster::faketime()?;
    cluster::act()?;
    // After the programs whose packages it shares.
    cluster::obtain()?;
    cluster::helm_3()?;
    run_in_namespace("cluster", "2", options)
}

/// The tier `istio`. Every sidecar listens on the ports of the Services themselves, so one test runs
/// at a time.
pub(super) fn istio(options: Options) -> Result<Tally, Skip> {
    module::build()?;
    envoy::obtain()?;
    cluster::istiod()?;
    cluster::agent()?;
    cluster::registry()?;
    cluster::prometheus()?;
    run_in_namespace("istio", "1", options)
}

/// The tier `pods`. Each test has a machine of its own, whose programs take all cores for a while.
pub(super) fn pods(options: Options) -> Result<Tally, Skip> {
    cluster::machine::check()?;
    fixture::pods::prepare()?;
    let mut command = cargo::tests(&["pods"], options);
    Ok(Tally::of_runner(command.args(["--", "--test-threads", "1"])))
}

/// Runs a test program. Each test has a cluster of its own. All of them share a network namespace:
/// their ports clash with no other program, and nothing outside can reach what they start.
fn run_in_namespace(program: &str, threads: &str, options: Options) -> Result<Tally, Skip> {
    cluster::obtain()?;
    cluster::build_program()?;
    run_prepared(program, threads, options)
}

fn run_prepared(program: &str, threads: &str, options: Options) -> Result<Tally, Skip> {
    // The build needs the registry, so it runs outside the namespace.
    run(cargo::tests(&[program], options).arg("--no-run"))?;
    let mut command = cargo::tests(&[program], options);
    command.args(["--", "--test-threads", threads]);
    if let Some(runner) = network_namespace() {
        command.env(format!("CARGO_TARGET_{}_RUNNER", host_triple()?), runner);
    }
    Ok(Tally::of_runner(&mut command))
}

/// The command that runs another one in a network namespace with a loopback interface; `None` if
/// the machine does not permit namespaces (an unprivileged container). The tests then use the
/// machine's own network.
fn network_namespace() -> Option<&'static str> {
    let mut attempt = Command::new("unshare");
    attempt.args(["--map-root-user", "--net", "--", "ip", "link", "set", "lo", "up"]);
    run(&mut attempt).is_ok().then_some("unshare --map-root-user --net --")
}

/// The target that cargo builds for, as it is spelled in the names of cargo's variables.
fn host_triple() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("cannot run rustc")?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` prints no host")?.replace('-', "_").to_uppercase())
}
