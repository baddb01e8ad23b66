//! `cargo module`: builds the filter and leaves it at `target/skycap.wasm`.
#![forbid(unsafe_code)]

use skycap_tests::module;

/// Build the Proxy-Wasm module
#[derive(clap::Parser)]
#[command(name = "cargo module", version)]
struct Args {}

fn main() -> anyhow::Result<()> {
    let Args {} = clap::Parser::parse();
    let path = module::build()?;
    let bytes = std::fs::metadata(&path)?.len();
    anstream::println!("{} ({bytes} bytes, {:.0} KB)", path.display(), bytes as f64 / 1000.0);
    Ok(())
}
