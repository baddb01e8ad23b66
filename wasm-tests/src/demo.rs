//! `cargo demo`: requests on their paths through a shop, and a sandbox that is disabled under load.

mod config_maps;
mod disabling;
mod scene;

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use hyper::{HeaderMap, header::HeaderName};

use self::{config_maps::ConfigMaps, scene::SCENES};
use crate::{
    envoy,
    module::{self, run as run_to_end},
    process::killed_with_parent,
    progress::Progress,
    shop::Shop,
    workspace,
};

/// The programs that the demo runs.
#[derive(Debug)]
pub struct Programs {
    module: PathBuf,
    skycap: PathBuf,
    envoy: PathBuf,
}

impl Programs {
    /// Builds the module and the command, and gets Envoy.
    ///
    /// # Errors
    /// If a build fails, or if Envoy is not available, with what to install.
    pub fn build() -> anyhow::Result<Self> {
        Ok(Self { module: module::build()?, skycap: build_skycap()?, envoy: envoy::obtain()? })
    }
}

/// Runs the demo. With `keep`, the shop then stays open, and this does not return.
///
/// # Errors
/// If the shop does not start, or if a request does not take the expected path.
pub async fn run(programs: &Programs, keep: bool) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let config_maps = ConfigMaps::copy(&programs.skycap, &folder.path().join("configmaps"))?;
    let table = config_maps.compile()?;
    let mut shop = {
        let _progress = Progress::new("starting the shop and its Envoys");
        let envoys = folder.path().join("envoys");
        Shop::open(&WORKLOADS, &programs.envoy, &programs.module, &table, &envoys).await?
    };
    anstream::println!(
        "\nA shop of {} workloads, each with its own Envoy. Sandboxes are in brackets.\n",
        shop.workloads()
    );
    for scene in SCENES {
        scene.play(&shop).await?;
    }
    disabling::play(&mut shop, &config_maps).await?;
    if keep { keep_open(&mut shop, &config_maps).await } else { Ok(()) }
}

/// Applies every change to the ConfigMaps. Returns only on an error.
async fn keep_open(shop: &mut Shop, config_maps: &ConfigMaps) -> anyhow::Result<()> {
    let gateway = shop.gateway()?;
    anstream::println!("\nThe shop stays open until Ctrl-C. Try:");
    for baggage in ["", "-H 'baggage: sandbox=pr-123' ", "-H 'baggage: sandbox=pr-7' "] {
        anstream::println!("  curl -s {baggage}-H 'Host: frontend.shop' http://{gateway}/");
    }
    anstream::println!("Or edit the ConfigMaps in {}", config_maps.folder().display());
    let mut current = config_maps.compile()?;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        match config_maps.compile() {
            Ok(table) if table != current => {
                shop.push(&table).await?;
                anstream::println!("the Envoys have the new table");
                current = table;
            }
            Ok(_) => {}
            Err(error) => {
                anstream::eprintln!("{error:#}");
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        }
    }
}

/// The binary `skycap`, in the profile that this program has: its library is compiled already, so
/// this only links.
fn build_skycap() -> anyhow::Result<PathBuf> {
    let _progress = Progress::new("building skycap");
    let mut cargo = killed_with_parent("cargo");
    cargo.current_dir(workspace::root());
    run_to_end(cargo.args(["build", "--locked", "--quiet", "--bin", "skycap"]))?;
    Ok(workspace::target().join("debug/skycap"))
}

fn headers(lines: &[(&str, &str)]) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let parsed = HeaderName::try_from(*name).context("invalid header name")?;
        headers.append(parsed, value.parse()?);
    }
    Ok(headers)
}

const PR_123: (&str, &str) = ("baggage", "sandbox=pr-123");
const WORKLOADS: [&str; 6] =
    ["frontend", "cart", "pricing", "cart-pr-123", "frontend-pr-7", "pricing-pr-7"];
