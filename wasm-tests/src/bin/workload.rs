//! The program in the shop's Pods: a workload, or a client of one.
#![forbid(unsafe_code)]

use clap::Parser;
use skycap_tests::shop::{Workload, ask};

/// Be a workload of the shop, or a client of one
#[derive(Parser)]
enum Args {
    /// Serve as a workload, such as `cart` or `cart-pr-1`
    Serve {
        /// The workload's name; the part before the first `-` is its role
        name: String,
        /// The port to listen on
        port: u16,
    },
    /// Ask a Service twenty times, and print what it answered
    ///
    /// The requests have the baggage of the variable `BAGGAGE`.
    Ask {
        /// The Service's name and port
        service: String,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Args::parse() {
        Args::Serve { name, port } => Workload::run_in_pod(&name, port).await,
        Args::Ask { service } => ask(&service).await,
    }
}
