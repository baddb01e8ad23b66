//! The controller as a process: the real program, under a token of its own ServiceAccount.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::process::{Child, Command};

use super::{
    Cluster,
    processes::{free_port, spawn},
};
use crate::{client, progress::Progress, workspace};

/// A running controller; it is killed when it is dropped.
#[derive(Debug)]
pub struct Controller {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Controller {
    /// Starts a replica under the ServiceAccount's own token, and waits until it is ready.
    ///
    /// # Errors
    /// When it is not ready in time, with its log.
    pub async fn start(
        cluster: &Cluster,
        name: &str,
        env: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let mut controller = Self::spawn(cluster, name, env).await?;
        controller.wait_until_ready().await?;
        Ok(controller)
    }

    /// Starts a replica, and waits for nothing.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn spawn(
        cluster: &Cluster,
        name: &str,
        env: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let kubeconfig = cluster.kubeconfig(&cluster.controller_token().await?)?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let log = cluster.folder().join(format!("{name}.log"));
        let mut command = Command::new(program());
        command
            .args(["controller", "--identity", name, "--module-url", &cluster.module_url])
            .args(["--listen", &address.to_string()])
            .args(["--plugin", cluster.plugin.kind().1])
            .args(["--mesh", &cluster.meshes.to_string()])
            .env("KUBECONFIG", kubeconfig)
            .envs(env.iter().copied());
        Ok(Self { child: spawn(&mut command, &log)?, address, log })
    }

    /// Waits until `/readyz` says so.
    ///
    /// # Errors
    /// When it does not in time, with the log.
    pub async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        for _ in 0..600 {
            if client::get(self.address, "/readyz").await.is_ok_and(|answer| answer == "ok\n") {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the controller ended with {status}:\n{}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the controller is not ready:\n{}", self.log())
    }

    /// A metric of `/metrics`, by the whole of its name.
    ///
    /// # Errors
    /// When it does not answer, or has no such metric.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = client::get(self.address, "/metrics").await?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.with_context(|| format!("no metric `{name}` in:\n{text}"))?
            .parse()
            .context("no number")
    }

    /// Where it serves `/metrics`.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends SIGTERM and waits for the end; gives whether it ended with 0.
    ///
    /// # Errors
    /// When it does not end in ten seconds.
    pub async fn terminate(mut self) -> anyhow::Result<bool> {
        self.signal("TERM")?;
        let status = tokio::time::timeout(Duration::from_secs(10), self.child.wait()).await??;
        Ok(status.success())
    }

    /// Sends a signal, such as `STOP`.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let pid = self.child.id().context("the controller has ended")?;
        let mut kill = std::process::Command::new("kill");
        crate::module::run(kill.args(["-s", signal, &pid.to_string()]))
    }

    /// Kills it, as a node that is gone would.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// The CPU time that it has had.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let pid = self.child.id().context("the controller has ended")?;
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
            total += schedstat.split(' ').next().context("an empty schedstat")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(total))
    }

    /// The memory that it has in RAM, in KiB.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resident_kib(&self) -> anyhow::Result<u64> {
        let pid = self.child.id().context("the controller has ended")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Ok(line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?.parse()?)
    }

    /// All that it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// The command `skycap`, of the profile that this is of; [`build_program`] builds it.
#[must_use]
pub fn program() -> PathBuf {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    workspace::target().join(Path::new(profile)).join("skycap")
}

/// Builds the command `skycap`.
///
/// # Errors
/// When it does not compile.
pub fn build_program() -> anyhow::Result<()> {
    let _progress = Progress::new("building skycap");
    let mut cargo = std::process::Command::new("cargo");
    cargo.current_dir(workspace::root()).args(["build", "--quiet", "--bin", "skycap"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    crate::module::run(&mut cargo)
}
