//! The command `skycap`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use skycap::cli::{Cli, exit_code, message};

fn main() -> ExitCode {
    Cli::from_command_line().run().unwrap_or_else(|error| {
        anstream::eprintln!("error: {}", message(&error));
        exit_code(&error)
    })
}
