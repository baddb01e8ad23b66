//! `cargo suite`: runs every test there is, in tiers.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, ValueEnum as _};
use skycap_tests::suite::{self, Tier};

/// Run every test there is, in tiers
#[derive(Parser)]
#[command(name = "cargo suite", version)]
struct Args {
    /// The tiers to run, divided by commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Tier>,
    /// Print the tiers and end
    #[arg(long)]
    list: bool,
    /// Run no test: open the shop of the tier istio, and leave it open until Ctrl-C
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let Args { only, list, keep } = Args::parse();
    let tiers = if only.is_empty() { Tier::value_variants().to_vec() } else { only };
    if list {
        tiers.iter().for_each(|tier| anstream::println!("{tier:<12} {}", tier.about()));
        return ExitCode::SUCCESS;
    }
    if keep {
        return if suite::keep() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let strict = std::env::var("CI").is_ok_and(|ci| ci == "true");
    if suite::run(&tiers, strict) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
