//! The controller as a process: the real program, with a token of its own ServiceAccount.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Cluster,
    processes::{Running, command, free_port, spawn},
};
use crate::{client, process::send_signal, progress::Progress, workspace};
use anyhow::{Context as _, bail};

/// A running controller. Dropping it kills it.
#[derive(Debug)]
pub struct Controller {
    child: Running,
    address: SocketAddr,
    queues: SocketAddr,
    log: PathBuf,
}

impl Controller {
    /// Starts a replica with this name, and waits until it is ready.
    ///
    /// # Errors
    /// If it is not ready in time, with its log.
    pub async fn start(
        cluster: &Cluster,
        name: &str,
        env: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let mut controller = Self::spawn(cluster, name, env).await?;
        controller.wait_until_ready().await?;
        Ok(controller)
    }

    /// Starts a replica with this name, without waiting for it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn spawn(
        cluster: &Cluster,
        name: &str,
        env: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let kubeconfig = cluster.kubeconfig(&cluster.controller_token().await?)?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let queues = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let log = cluster.folder().join(format!("{name}.log"));
        let mut command = command(program());
        command
            .args(["controller", "--identity", name, "--module-url", &cluster.module_url])
            .args(["--listen", &address.to_string()])
            .args(["--listen-queues", &queues.to_string()])
            .args(["--plugin", cluster.plugin.kind().1])
            .args(["--mesh", &cluster.meshes.to_string()])
            .env("KUBECONFIG", kubeconfig)
            .envs(env.iter().copied());
        Ok(Self { child: spawn(&mut command, &log)?, address, queues, log })
    }

    /// Waits until `/readyz` answers `ok`.
    ///
    /// # Errors
    /// If it does not in time, with the log.
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

    /// The value of a metric of `/metrics`, by its full name.
    ///
    /// # Errors
    /// If the controller does not answer, or has no such metric.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = client::get(self.address, "/metrics").await?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.with_context(|| format!("no metric `{name}` in:\n{text}"))?
            .parse()
            .context("the value is not a number")
    }

    /// Whether this replica leads.
    ///
    /// # Errors
    /// If the controller does not answer.
    pub async fn leads(&self) -> anyhow::Result<bool> {
        Ok(self.metric("skycap_controller_leader").await? == 1.0)
    }

    /// How many objects this replica has written.
    ///
    /// # Errors
    /// If the controller does not answer.
    pub async fn writes(&self) -> anyhow::Result<f64> {
        self.metric("skycap_controller_writes_total").await
    }

    /// The address where it serves `/metrics`.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address where it serves the rules of queues.
    #[must_use]
    pub const fn queues(&self) -> SocketAddr {
        self.queues
    }

    /// Sends SIGTERM and waits for the end. Returns whether the exit code is 0.
    ///
    /// # Errors
    /// If it does not end within ten seconds.
    pub async fn terminate(mut self) -> anyhow::Result<bool> {
        self.signal("TERM")?;
        let status = tokio::time::timeout(Duration::from_secs(10), self.child.wait()).await??;
        Ok(status.success())
    }

    /// Sends a signal, such as `STOP`.
    ///
    /// # Errors
    /// If the controller has ended.
    pub fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let pid = self.child.id().context("the controller has ended")?;
        send_signal(signal, &pid.to_string())
    }

    /// Kills it, as when its node fails.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// The CPU time that it has used.
    ///
    /// # Errors
    /// If it has ended.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let pid = self.child.id().context("the controller has ended")?;
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
            total += schedstat.split(' ').next().context("an empty schedstat")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(total))
    }

    /// Its resident memory, in KiB.
    ///
    /// # Errors
    /// If it has ended.
    pub fn resident_kib(&self) -> anyhow::Result<u64> {
        self.memory_kib("VmRSS:")
    }

    /// The most resident memory that it has had, in KiB.
    ///
    /// # Errors
    /// If it has ended.
    pub fn peak_kib(&self) -> anyhow::Result<u64> {
        self.memory_kib("VmHWM:")
    }

    /// A line of `/proc/PID/status` (proc_pid_status(5)).
    fn memory_kib(&self, name: &str) -> anyhow::Result<u64> {
        let pid = self.child.id().context("the controller has ended")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|line| line.split_whitespace().next());
        Ok(value.with_context(|| format!("no `{name}` in its status"))?.parse()?)
    }

    /// Its whole log.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// The path of the command `skycap` that [`build_program`] builds, in the profile of this library.
#[must_use]
pub fn program() -> PathBuf {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    workspace::target().join(Path::new(profile)).join("skycap")
}

/// Builds the command `skycap`.
///
/// # Errors
/// If it does not compile.
pub fn build_program() -> anyhow::Result<()> {
    build("skycap")
}

/// Builds the program `skycap-queue`, which is beside the command.
///
/// # Errors
/// If it does not compile.
pub fn build_splitter() -> anyhow::Result<()> {
    build("skycap-queue")
}

fn build(program: &str) -> anyhow::Result<()> {
    let _progress = Progress::new(&format!("building {program}"));
    let mut cargo = std::process::Command::new("cargo");
    cargo.current_dir(workspace::root()).args(["build", "--locked", "--quiet", "--bin", program]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    crate::module::run(&mut cargo)
}
