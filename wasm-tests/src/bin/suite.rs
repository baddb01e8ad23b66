//! `cargo suite`: runs the tests, in tiers.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, ValueEnum as _};
use skycap_tests::suite::{self, Options, Tier};

/// Run the tests, in tiers
///
/// By default, the tiers run that need no control plane: no etcd, API server or istiod. Parts that
/// take long to build are built once and kept in the cache folder (`SKYCAP_CACHE`, by default
/// `~/.cache/skycap`).
///
/// With `CI=true` in the environment, a tier that cannot run is a failure, and missing system
/// packages are installed.
#[derive(Parser)]
#[command(name = "cargo suite", version)]
struct Args {
    /// Run every tier
    #[arg(long)]
    all: bool,
    /// Run these tiers, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TIERS", conflicts_with = "all")]
    only: Vec<Tier>,
    /// Run the long form of the tests that have one (also SKYCAP_LONG=1)
    #[arg(long)]
    long: bool,
    /// Print the tiers that would run, and exit
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let Args { all, only, long, list } = Args::parse();
    let by_default = !all && only.is_empty();
    let tiers = match (all, by_default) {
        (true, _) => Tier::value_variants().to_vec(),
        (false, true) => Tier::without_control_plane(),
        (false, false) => only,
    };
    let left_out = by_default.then(|| suite::left_out(&tiers)).flatten();
    let is_set = |name, value| std::env::var(name).is_ok_and(|set| set == value);
    let passed = if list {
        tiers.iter().for_each(|tier| anstream::println!("{tier:<12} {}", tier.about()));
        true
    } else {
        let long = long || is_set("SKYCAP_LONG", "1");
        suite::run(&tiers, Options { ci: is_set("CI", "true"), long })
    };
    left_out.iter().for_each(|line| anstream::println!("{line}"));
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
