//! A real Envoy: how to get it, start it, and push a table to it.

pub mod bootstrap;
mod obtain;
pub mod process;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::bail;

pub use self::{bootstrap::Bootstrap, obtain::obtain, process::Process};

/// An Envoy with skycap's filter, which it gets through ECDS.
#[derive(Debug)]
pub struct Envoy {
    /// The process, with its listeners, stats and log.
    pub process: Process,
    folder: PathBuf,
    bootstrap: Bootstrap,
    version: u64,
}

impl Envoy {
    /// Starts Envoy in `folder`, which must be new or empty, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not start, with the end of its log.
    pub async fn start(
        binary: &Path,
        bootstrap: Bootstrap,
        plugin_config: &str,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        write_extension(folder, &bootstrap, plugin_config, 1)?;
        let json = bootstrap.json(&folder.join(EXTENSION_FILE));
        let (node, workers) = (&bootstrap.node, bootstrap.workers);
        let process = Process::start(binary, &json, node, workers, folder).await?;
        Ok(Self { process, folder: folder.into(), bootstrap, version: 1 })
    }

    /// Pushes a table through ECDS. Returns whether Envoy accepted it.
    ///
    /// # Errors
    /// If Envoy neither accepts nor rejects it in time.
    pub async fn push(&mut self, plugin_config: &str) -> anyhow::Result<bool> {
        let before = (self.extension_stat("update_success").await?, self.rejected().await?);
        self.version += 1;
        write_extension(&self.folder, &self.bootstrap, plugin_config, self.version)?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.extension_stat("update_success").await? > before.0 {
                return Ok(true);
            }
            if self.rejected().await? > before.1 {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bail!(
            "Envoy neither accepted nor rejected the table within {PATIENCE:?}:\n{}",
            self.process.log_tail()
        )
    }

    async fn rejected(&self) -> anyhow::Result<u64> {
        let (rejected, failed) = ("update_rejected", "update_failure");
        Ok(self.extension_stat(rejected).await? + self.extension_stat(failed).await?)
    }

    async fn extension_stat(&self, name: &str) -> anyhow::Result<u64> {
        self.process.stat(&format!("extension_config_discovery.http_filter.{PLUGIN}.{name}")).await
    }
}

/// Replaces the file of the ECDS resource atomically: Envoy must not read half of it.
fn write_extension(
    folder: &Path,
    bootstrap: &Bootstrap,
    plugin_config: &str,
    version: u64,
) -> anyhow::Result<()> {
    let new = folder.join("extension.new");
    fs::write(&new, bootstrap.extension(plugin_config, version).to_string())?;
    fs::rename(new, folder.join(EXTENSION_FILE))?;
    Ok(())
}

/// The name of the plugin. istiod composes it from namespace and name.
pub const PLUGIN: &str = "istio-system.skycap";

const EXTENSION_FILE: &str = "extension.json";
const PATIENCE: Duration = Duration::from_secs(20);
