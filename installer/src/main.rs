//! The command `skycap`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use skycap::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run().unwrap_or_else(|error| {
        anstream::eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
