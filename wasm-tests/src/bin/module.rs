//! `cargo module`: builds the filter into `target/skycap.wasm`.
#![forbid(unsafe_code)]

use skycap_tests::module::{self, Toolchain};

/// Build the Proxy-Wasm module into target/skycap.wasm
#[derive(clap::Parser)]
#[command(name = "cargo module", version)]
struct Args {
    /// Install Debian's toolchain for wasm32 if no toolchain here can build the module (as root)
    #[arg(long)]
    install: bool,
}

fn main() -> anyhow::Result<()> {
    let Args { install } = clap::Parser::parse();
    if install {
        Toolchain::install()?;
    }
    let path = module::build()?;
    let bytes = std::fs::metadata(&path)?.len();
    anstream::println!("{} ({bytes} bytes, {:.0} KB)", path.display(), bytes as f64 / 1000.0);
    Ok(())
}
