//! An Envoy process, with any bootstrap. Its admin port reports its state.

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

use crate::{client, process::killed_with_parent};

/// A running Envoy. It is killed when it is dropped, and when the program that started it ends.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// The folder of its bootstrap and its log.
    folder: PathBuf,
    admin: SocketAddr,
    listeners: Vec<(String, SocketAddr)>,
}

impl Process {
    /// Starts Envoy with `bootstrap` in `folder`, which must exist, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not start, with the end of its log.
    pub async fn start(
        binary: &Path,
        bootstrap: &Value,
        node: &str,
        workers: u32,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let config = folder.join("envoy.json");
        fs::write(&config, bootstrap.to_string())?;
        let child = Command::from(killed_with_parent(binary))
            .arg("--config-path")
            .arg(&config)
            .arg("--admin-address-path")
            .arg(folder.join(ADMIN_FILE))
            .args(["--use-dynamic-base-id", "--log-level", "warning"])
            .args(["--component-log-level", "wasm:info"])
            .args(["--concurrency", &workers.to_string()])
            .args(["--service-node", node, "--service-cluster", "skycap"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join(LOG_FILE))?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run Envoy at `{}`", binary.display()))?;
        let admin = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut process = Self { child, folder: folder.into(), admin, listeners: Vec::new() };
        process.wait_until_ready().await?;
        Ok(process)
    }

    /// The address of the listener `name`.
    ///
    /// # Errors
    /// If no listener has this name.
    pub fn listener(&self, name: &str) -> anyhow::Result<SocketAddr> {
        let found = self.listeners.iter().find(|(listener, _)| listener == name);
        found.map(|(_, address)| *address).with_context(|| format!("no listener `{name}`"))
    }

    /// The value of a stat, by its full name; 0 if Envoy has none with this name.
    ///
    /// # Errors
    /// If the admin port does not respond.
    pub async fn stat(&self, name: &str) -> anyhow::Result<u64> {
        let text = client::get(self.admin, "/stats").await?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        Ok(line.and_then(|value| value.parse().ok()).unwrap_or(0))
    }

    /// The response of the admin port to a path, such as `/stats/prometheus`.
    ///
    /// # Errors
    /// If the admin port does not respond.
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

    /// All of Envoy's log.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.folder.join(LOG_FILE))?)
    }

    /// The CPU time of all threads so far, in nanoseconds.
    ///
    /// It comes from `schedstat`, because `stat` counts in steps of ten milliseconds.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn cpu_nanoseconds(&self) -> anyhow::Result<u64> {
        let pid = self.child.id().context("Envoy has ended")?;
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
            let time = schedstat.split(' ').next().context("`schedstat` is empty")?;
            total += time.parse::<u64>()?;
        }
        Ok(total)
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("Envoy ended with {status}:\n{}", self.log_tail());
            }
            ensure!(Instant::now() < deadline, "Envoy is not ready:\n{}", self.log_tail());
            if self.is_ready().await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.read_listeners().await?;
        // A module that did not start lets requests pass (fail-open). In a test, that is an error.
        let failure = self.log()?.lines().find(|line| line.contains(VM_FAILURE)).map(str::to_owned);
        failure.map_or(Ok(()), |line| bail!("the module did not start: {line}"))
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
            self.listeners.push((name, address.parse().context("a listener has no address")?));
        }
        Ok(())
    }
}

/// What Envoy logs when a module cannot be loaded, started or configured (wasm.cc).
const VM_FAILURE: &str = "Wasm VM failed";
const ADMIN_FILE: &str = "admin";
const LOG_FILE: &str = "envoy.log";
const PATIENCE: Duration = Duration::from_secs(20);
