//! The tiers: what each runs, and what it needs.

use std::{fmt, path::PathBuf, process::Command};

use anyhow::Context as _;
use clap::ValueEnum;

use super::{instructions, runner::Tally};
use crate::{
    cluster, envoy,
    module::{self, Toolchain, run},
    progress::Step,
    workspace,
};

/// A tier of tests, the cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tier {
    /// Format, clippy, rustdoc.
    Lint,
    /// The core and the compiler, natively.
    Unit,
    /// The core's tests on wasm32, under Node.
    Wasm,
    /// What a decision costs, under valgrind.
    Instructions,
    /// The built module in the in-process host.
    Module,
    /// The built module in real Envoys.
    Envoy,
    /// The controller and the command on a real etcd and kube-apiserver.
    Cluster,
    /// A real istiod between the controller and Envoy.
    Istio,
    /// The core under random bytes, with nightly.
    Fuzz,
}

/// Why a tier cannot run here, and what to install.
#[derive(Debug)]
pub(crate) struct Skip(pub(crate) String);

impl<E: Into<anyhow::Error>> From<E> for Skip {
    fn from(error: E) -> Self {
        Self(format!("{:#}", error.into()))
    }
}

impl Tier {
    /// What it proves, in a line.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Lint => "format, clippy and rustdoc, with warnings as errors",
            Self::Unit => "the core and the compiler, natively",
            Self::Wasm => "the core's tests on wasm32, under Node",
            Self::Instructions => "what a decision costs, counted under valgrind",
            Self::Module => "the built module in the in-process host",
            Self::Envoy => "the built module in real Envoys",
            Self::Cluster => "the controller and the command on a real etcd and kube-apiserver",
            Self::Istio => "a real istiod between the controller and Envoy",
            Self::Fuzz => "the core under random bytes (10 s a target, 60 s with CI=true)",
        }
    }

    /// Gets what the tier needs, and runs it.
    pub(crate) fn run(self) -> Result<Tally, Skip> {
        match self {
            Self::Lint => Ok(lint()),
            Self::Unit => Ok(test(&["--package", "skycap-core", "--package", "skycap"])),
            Self::Wasm => wasm(),
            Self::Instructions => {
                if Command::new("valgrind").arg("--version").output().is_err() {
                    return Err(Skip("there is no `valgrind`; install it from your system".into()));
                }
                Ok(instructions::count()?)
            }
            Self::Module => {
                module::build()?;
                Ok(test(&[
                    "--package",
                    "skycap-tests",
                    "--lib",
                    "--test",
                    "cases",
                    "--test",
                    "host",
                    "--test",
                    "precedence",
                ]))
            }
            Self::Envoy => {
                module::build()?;
                envoy::obtain()?;
                Ok(test(&["--package", "skycap-tests", "--test", "envoy", "--test", "protocols"]))
            }
            Self::Cluster => {
                cluster::faketime()?;
                let tests =
                    ["cluster", "commands", "admission", "telemetry", "faults", "routes", "rights"];
                kubernetes(&tests, &["--test-threads", "2"])
            }
            Self::Istio => {
                prepare_istio()?;
                let tests = ["istio", "behaviours", "mesh", "install", "oci", "rollout", "observe"];
                // Every sidecar has the Services' own ports.
                kubernetes(&tests, &["--test-threads", "1"])
            }
            Self::Fuzz => fuzz(),
        }
    }
}

/// Opens the shop of the tier `istio` and leaves it open until Ctrl-C.
pub(crate) fn keep() -> Result<Tally, Skip> {
    prepare_istio()?;
    kubernetes(&["mesh"], &["--ignored", "--nocapture", "the_shop_stays_open"])
}

fn prepare_istio() -> anyhow::Result<()> {
    module::build()?;
    envoy::obtain()?;
    cluster::istiod()?;
    cluster::agent()?;
    cluster::registry()?;
    cluster::prometheus()?;
    Ok(())
}

/// Each test has a cluster of its own, and all of them a network namespace: their ports clash with
/// nobody's, and nothing that they start is reached from outside.
fn kubernetes(tests: &[&str], flags: &[&str]) -> Result<Tally, Skip> {
    cluster::obtain()?;
    cluster::build_program()?;
    let mut args = vec!["--package", "skycap-tests"];
    for test in tests {
        args.extend(["--test", test]);
    }
    run(&mut cargo(&[&["test", "--quiet", "--no-run"], &args[..]].concat()))?;
    let mut command = cargo(&[&["test", "--quiet"], &args[..], &["--"], flags].concat());
    if let Some(runner) = network_namespace() {
        command.env(format!("CARGO_TARGET_{}_RUNNER", host_triple()?), runner);
    }
    Ok(Tally::of_runner(&mut command))
}

/// The command that runs another in a network namespace with a loopback; `None` where the machine
/// allows none (a container without the right to): then the tests share the machine's.
fn network_namespace() -> Option<&'static str> {
    let mut attempt = Command::new("unshare");
    attempt.args(["--map-root-user", "--net", "--", "ip", "link", "set", "lo", "up"]);
    run(&mut attempt).is_ok().then_some("unshare --map-root-user --net --")
}

/// The target that cargo builds for, as it stands in the names of cargo's variables.
fn host_triple() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("-vV").output()?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.replace('-', "_").to_uppercase())
}

/// Each fuzz target counts as one test.
fn fuzz() -> Result<Tally, Skip> {
    let nightly = Command::new("cargo").args(["+nightly", "--version"]).output();
    if !nightly.is_ok_and(|nightly| nightly.status.success()) {
        return Err(Skip("there is no nightly; `rustup toolchain install nightly`".into()));
    }
    let cargo_fuzz = install("cargo-fuzz", "0.13.2", &[])?.join("bin/cargo-fuzz");
    let seconds = if std::env::var("CI").is_ok_and(|ci| ci == "true") { 60 } else { 10 };
    let folder = workspace::root().join("filter/core/fuzz");
    let mut tally = Tally::default();
    for target in ["baggage", "config", "decide"] {
        let corpus = workspace::target().join("fuzz-corpus").join(target);
        std::fs::create_dir_all(&corpus)?;
        let mut command = Command::new(&cargo_fuzz);
        command
            .current_dir(&folder)
            // cargo-fuzz calls cargo, which is to be nightly's.
            .env("RUSTUP_TOOLCHAIN", "nightly")
            .env_remove("CARGO")
            .args(["fuzz", "run", "--fuzz-dir", ".", "--target-dir"])
            .arg(workspace::target().join("fuzz"))
            .arg(target)
            .arg(corpus)
            .arg(folder.join("seeds").join(target))
            .args(["--", "-verbosity=0", "-max_len=16384", "-timeout=10"])
            .arg(format!("-max_total_time={seconds}"));
        tally = tally + Tally::of_check(&mut command);
    }
    Ok(tally)
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.pad(value.as_ref().map_or("", clap::builder::PossibleValue::get_name))
    }
}

fn lint() -> Tally {
    let warnings = ["--", "--deny", "warnings"];
    let mut checks = vec![
        cargo(&["fmt", "--all", "--check"]),
        cargo(&[&["clippy", "--quiet", "--all-targets"], &warnings[..]].concat()),
    ];
    // The filter's own code is for wasm32 alone, and Debian's toolchain has no clippy for it.
    if let Ok(Toolchain::Installed) = Toolchain::find() {
        let mut clippy = Toolchain::Installed.cargo("clippy", "");
        clippy.args(["--quiet", "--package", "skycap-filter"]).args(warnings);
        checks.push(clippy);
    }
    let mut doc = cargo(&["doc", "--quiet", "--no-deps", "--document-private-items"]);
    doc.env("RUSTDOCFLAGS", "--deny warnings");
    checks.push(doc);
    checks.iter_mut().map(Tally::of_check).fold(Tally::default(), |total, tally| total + tally)
}

fn test(args: &[&str]) -> Tally {
    Tally::of_runner(&mut cargo(&[&["test", "--quiet"], args].concat()))
}

fn wasm() -> Result<Tally, Skip> {
    if Command::new("node").arg("--version").output().is_err() {
        return Err(Skip("there is no `node`; install Node.js 20 or newer".into()));
    }
    let toolchain = Toolchain::find()?;
    let runner = wasm_bindgen_runner()?;
    // No --quiet: cargo hands it on to a runner that does not know it.
    let mut command = toolchain.cargo("test", "std,panic_abort,test");
    command
        .args(["--package", "skycap-core", "--lib", "--tests"])
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner);
    Ok(Tally::of_runner(&mut command))
}

/// wasm-bindgen's test runner, of exactly the version that the tests are built with.
fn wasm_bindgen_runner() -> anyhow::Result<PathBuf> {
    let version = locked_version("wasm-bindgen")?;
    let folder = install("wasm-bindgen-cli", &version, &["--no-default-features"])?;
    Ok(folder.join("bin/wasm-bindgen-test-runner"))
}

/// A program from the registry, built once for all checkouts: it takes minutes.
fn install(program: &str, version: &str, args: &[&str]) -> anyhow::Result<PathBuf> {
    let folder = workspace::cache()?.join(format!("{program}-{version}"));
    // Cargo writes this file when all is in place.
    if !folder.join(".crates.toml").is_file() {
        let _step = Step::new(&format!("building {program} {version}, once"));
        // Without --locked: its own lock file may name what a mirror does not have yet.
        run(cargo(&["install", "--quiet", program, "--version", version, "--root"])
            .arg(&folder)
            .args(args))?;
    }
    Ok(folder)
}

/// The version of a package in Cargo.lock.
fn locked_version(package: &str) -> anyhow::Result<String> {
    let lock = std::fs::read_to_string(workspace::root().join("Cargo.lock"))?;
    let mut lines = lock.lines().skip_while(|line| *line != format!("name = \"{package}\""));
    let version = lines.nth(1).and_then(|line| line.strip_prefix("version = \""));
    version
        .and_then(|version| version.strip_suffix('"'))
        .map(str::to_owned)
        .ok_or_else(|| anyhow::anyhow!("Cargo.lock has no `{package}`"))
}

fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(workspace::root()).args(args);
    command
}
