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
    /// Print all tiers, and exit
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let Args { all, only, long, list } = Args::parse();
    if list {
        print_tiers();
        return ExitCode::SUCCESS;
    }
    let tiers = match (all, only.is_empty()) {
        (true, _) => Tier::value_variants().to_vec(),
        (false, true) => Tier::by_default(),
        (false, false) => only.clone(),
    };
    let is_set = |name, value| std::env::var(name).is_ok_and(|set| set == value);
    let long = long || is_set("SKYCAP_LONG", "1");
    let passed = suite::run(&tiers, Options { ci: is_set("CI", "true"), long, all });
    if only.is_empty() {
        suite::left_out(&tiers).iter().for_each(|line| anstream::println!("{line}"));
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_tiers() {
    let by_default = Tier::by_default();
    for tier in Tier::value_variants() {
        let note = if by_default.contains(tier) { "" } else { " (only with --all or --only)" };
        anstream::println!("{tier:<12} {}{note}", tier.about());
    }
}
