//! A workload of the shop, for a Pod: `workload NAME PORT`.
#![forbid(unsafe_code)]

use clap::Parser;
use skycap_tests::shop::Workload;

/// Serve as a workload of the shop, such as `cart` or `cart-pr-1`
#[derive(Parser)]
struct Args {
    /// The workload's name; the part before the first `-` is its role
    name: String,
    /// The port to listen on
    port: u16,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Args { name, port } = Args::parse();
    Workload::run_in_pod(&name, port).await
}
