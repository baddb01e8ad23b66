//! The tiers: what each one shows, what it needs, and what it runs.

use std::{fmt, process::Command};

use clap::ValueEnum;

use super::{
    Options,
    cargo::{tests, unit_tests},
    fuzz, instructions, kubernetes, lint, reproducible,
    runner::{Skip, Tally},
    wasm,
};
use crate::{envoy, module};

/// A tier of tests, the cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tier {
    /// Format, clippy, rustdoc, dependencies, tracked files
    Lint,
    /// The core and the command, natively
    Unit,
    /// The core's tests on wasm32, under Node
    Wasm,
    /// The instructions of one decision, counted by valgrind
    Instructions,
    /// The built module in the in-process host
    Module,
    /// The built module in real Envoys
    Envoy,
    /// The core on random bytes, with nightly Rust
    Fuzz,
    /// The splitter of queues on real Kafka brokers
    Queue,
    /// The controller and the command on a real etcd and kube-apiserver
    Cluster,
    /// A real istiod between the controller and Envoy
    Istio,
    /// Real Pods with injected sidecars; needs root
    Pods,
}

impl Tier {
    /// The tiers that `cargo suite` runs by default: no etcd, API server, istiod or Kafka.
    #[must_use]
    pub fn by_default() -> Vec<Self> {
        let all = Self::value_variants().iter().copied();
        all.filter(|tier| !matches!(tier, Self::Queue | Self::Cluster | Self::Istio | Self::Pods))
            .collect()
    }

    /// What the tier shows, in a line.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Lint => "format, clippy, rustdoc, dependencies and tracked files",
            Self::Unit => "the core and the command, natively",
            Self::Wasm => "the core's tests on wasm32, under Node",
            Self::Instructions => "the instructions of one decision, counted by valgrind",
            Self::Module => "the built module in the in-process host",
            Self::Envoy => "the built module in real Envoys",
            Self::Fuzz => "the core on random bytes (5 s a target, 60 s with --long)",
            Self::Queue => "the splitter of queues on real Kafka brokers",
            Self::Cluster => "the controller and the command on a real etcd and kube-apiserver",
            Self::Istio => "a real istiod between the controller and Envoy",
            Self::Pods => "real Pods with injected sidecars, and skycap from its image; needs root",
        }
    }

    /// Gets what the tier needs, and runs it.
    pub(super) fn run(self, options: Options) -> Result<Tally, Skip> {
        if options.ci && self.needs_wasm() {
            module::Toolchain::install()?;
        }
        match self {
            Self::Lint => Ok(lint::run(options)),
            Self::Unit => Ok(unit_tests(options)?),
            Self::Wasm => wasm::run(),
            Self::Instructions => {
                if Command::new("valgrind").arg("--version").output().is_err() {
                    return Err(Skip(
                        "valgrind is not installed; install it with your system's package manager"
                            .into(),
                    ));
                }
                Ok(instructions::count()?)
            }
            Self::Module => {
                module::build()?;
                let mut tally = Tally::of_runner(&mut tests(&["module"], options));
                if options.all || options.ci {
                    let same = "a second build of the module has the same bytes";
                    tally = tally + Tally::of_result(same, reproducible::check());
                }
                Ok(tally)
            }
            Self::Envoy => {
                module::build()?;
                envoy::obtain()?;
                Ok(Tally::of_runner(&mut tests(&["envoy"], options)))
            }
            Self::Fuzz => fuzz::run_targets(options),
            Self::Queue => kubernetes::queue(options),
            Self::Cluster => kubernetes::cluster(options),
            Self::Istio => kubernetes::istio(options),
            Self::Pods => kubernetes::pods(options),
        }
    }

    /// Whether the tier cannot run without a toolchain for wasm32.
    const fn needs_wasm(self) -> bool {
        !matches!(self, Self::Lint | Self::Unit | Self::Instructions | Self::Fuzz | Self::Queue)
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.pad(value.as_ref().map_or("", clap::builder::PossibleValue::get_name))
    }
}
