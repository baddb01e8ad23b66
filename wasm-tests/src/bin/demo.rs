//! `cargo demo`: a shop on real Envoys, with requests that take different paths through it.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use skycap_tests::demo::{self, Programs};

/// Show requests with and without a routing key on their paths through a shop on real Envoys
#[derive(clap::Parser)]
#[command(name = "cargo demo", version)]
struct Args {
    /// Keep the shop running until Ctrl-C, and apply every change to its ConfigMaps
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let Args { keep } = clap::Parser::parse();
    // Before there is a handler, so that a signal also ends the builds.
    let result = Programs::build().and_then(|programs| run(&programs, keep));
    match result {
        Ok(code) => code,
        Err(error) => {
            anstream::eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(programs: &Programs, keep: bool) -> anyhow::Result<ExitCode> {
    // The future that is dropped here owns everything that was started.
    tokio::select! {
        result = demo::run(programs, keep) => result.map(|()| ExitCode::SUCCESS),
        () = stopped() => {
            anstream::eprintln!("stopped; nothing is left running");
            Ok(ExitCode::from(130))
        }
    }
}

/// Waits for Ctrl-C, or for the signal that `kill` and `timeout` send.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
