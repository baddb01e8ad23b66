//! A real Envoy: where to get it, how to start it, how to push a table into it.

pub mod bootstrap;
mod obtain;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tokio::process::{Child, Command};

pub use self::{bootstrap::Bootstrap, obtain::obtain};
use crate::client;

/// An Envoy that runs, until it is dropped.
#[derive(Debug)]
pub struct Envoy {
    /// Killed when dropped.
    process: Child,
    /// Its bootstrap, its log and its ECDS file.
    folder: PathBuf,
    admin: SocketAddr,
    listeners: Vec<(String, SocketAddr)>,
    bootstrap: Bootstrap,
    version: u64,
}

impl Envoy {
    /// Starts Envoy in `folder`, which must be empty or new, and waits until it serves.
    ///
    /// # Errors
    /// When it does not start, with the end of its log.
    pub async fn start(
        binary: &Path,
        bootstrap: Bootstrap,
        plugin_config: &str,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        write_extension(folder, &bootstrap, plugin_config, 1)?;
        let config = folder.join("envoy.json");
        fs::write(&config, bootstrap.json(&folder.join(EXTENSION_FILE)).to_string())?;
        let process = Command::new(binary)
            .arg("--config-path")
            .arg(&config)
            .arg("--admin-address-path")
            .arg(folder.join(ADMIN_FILE))
            .args(["--use-dynamic-base-id", "--log-level", "warning"])
            .args(["--component-log-level", "wasm:info"])
            .args(["--concurrency", &bootstrap.workers.to_string()])
            // A node that goes away drops nothing that tests would wait for.
            .args(["--drain-time-s", "1", "--parent-shutdown-time-s", "2"])
            .args(["--service-node", &bootstrap.node, "--service-cluster", "skycap"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join(LOG_FILE))?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run Envoy at `{}`", binary.display()))?;
        let mut envoy = Self {
            process,
            folder: folder.into(),
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            listeners: Vec::new(),
            bootstrap,
            version: 1,
        };
        envoy.wait_until_ready().await?;
        Ok(envoy)
    }

    /// The address of the listener `name`.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn listener(&self, name: &str) -> anyhow::Result<SocketAddr> {
        let found = self.listeners.iter().find(|(listener, _)| listener == name);
        found.map(|(_, address)| *address).with_context(|| format!("no listener `{name}`"))
    }

    /// Pushes a table as ECDS does, and waits for Envoy's answer: whether it was taken.
    ///
    /// # Errors
    /// When Envoy says neither yes nor no.
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
        bail!("Envoy took no notice of a new table within {PATIENCE:?}:\n{}", self.log_tail())
    }

    /// The value of a stat, by its full name; 0 where there is none.
    ///
    /// # Errors
    /// When the admin port does not answer.
    pub async fn stat(&self, name: &str) -> anyhow::Result<u64> {
        let text = client::get(self.admin, "/stats").await?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        Ok(line.and_then(|value| value.parse().ok()).unwrap_or(0))
    }

    /// The answer of the admin port, such as to `/stats/prometheus`.
    ///
    /// # Errors
    /// When the admin port does not answer.
    pub async fn admin(&self, path: &str) -> anyhow::Result<String> {
        client::get(self.admin, path).await
    }

    /// The last lines of Envoy's log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.folder.join(LOG_FILE)).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// The whole of Envoy's log.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.folder.join(LOG_FILE))?)
    }

    async fn rejected(&self) -> anyhow::Result<u64> {
        let (rejected, failed) = ("update_rejected", "update_failure");
        Ok(self.extension_stat(rejected).await? + self.extension_stat(failed).await?)
    }

    async fn extension_stat(&self, name: &str) -> anyhow::Result<u64> {
        self.stat(&format!("extension_config_discovery.http_filter.{PLUGIN}.{name}")).await
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait()? {
                bail!("Envoy ended with {status}:\n{}", self.log_tail());
            }
            ensure!(Instant::now() < deadline, "Envoy is not ready:\n{}", self.log_tail());
            if self.is_ready().await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.read_listeners().await?;
        // Fail-open lets requests by a module that did not start: here that is an error.
        let failure = self.log()?.lines().find(|line| line.contains(VM_FAILURE)).map(str::to_owned);
        failure.map_or(Ok(()), |line| bail!("the module does not start: {line}"))
    }

    async fn is_ready(&mut self) -> bool {
        let address = fs::read_to_string(self.folder.join(ADMIN_FILE)).ok();
        let Some(admin) = address.and_then(|address| address.trim().parse().ok()) else {
            return false;
        };
        self.admin = admin;
        client::get(admin, "/ready").await.is_ok_and(|answer| answer.starts_with("LIVE"))
    }

    async fn read_listeners(&mut self) -> anyhow::Result<()> {
        let json: Value = serde_json::from_str(&self.admin("/listeners?format=json").await?)?;
        for status in json["listener_statuses"].as_array().into_iter().flatten() {
            let address = &status["local_address"]["socket_address"];
            let (ip, port) = (address["address"].as_str(), address["port_value"].as_u64());
            let address = format!("{}:{}", ip.unwrap_or_default(), port.unwrap_or_default());
            let name = status["name"].as_str().unwrap_or_default().to_owned();
            self.listeners.push((name, address.parse().context("a listener without address")?));
        }
        Ok(())
    }
}

/// Writes the ECDS resource by renaming, so that Envoy never reads half of it.
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

/// The plugin's name, as istiod composes it from namespace and name.
pub const PLUGIN: &str = "istio-system.skycap";

const ADMIN_FILE: &str = "admin";
const EXTENSION_FILE: &str = "extension.json";
const LOG_FILE: &str = "envoy.log";
const PATIENCE: Duration = Duration::from_secs(20);
/// What Envoy logs when a module cannot be loaded, started or configured (wasm.cc).
const VM_FAILURE: &str = "Wasm VM failed";
