//! The command `skycap`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use skycap::cli::{Cli, exit_code};

fn main() -> ExitCode {
    Cli::parse().run().unwrap_or_else(|error| {
        anstream::eprintln!("error: {error:#}");
        exit_code(&error)
    })
}
