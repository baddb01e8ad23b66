//! The cluster's processes: how each is started, and how it is killed, as in a crash.

use std::{
    ffi::OsStr,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::{Deref, DerefMut},
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::json;
use tokio::process::{Child, Command};

use super::{Cluster, PATIENCE, audit};
use crate::{client, process::killed_with_parent};

impl Cluster {
    /// Kills the API server, as in a crash.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub async fn kill_apiserver(&mut self) -> anyhow::Result<()> {
        kill(&mut self.apiserver).await
    }

    /// Kills etcd, as in a crash. Its data stays.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub async fn kill_etcd(&mut self) -> anyhow::Result<()> {
        kill(&mut self.etcd).await
    }

    /// Deletes all old revisions in etcd, as Kubernetes does every five minutes. A watch that has not
    /// read them yet then fails with 410 (Gone).
    ///
    /// # Errors
    /// If etcd does not answer (at its gateway from JSON to gRPC, `/v3/kv/…`).
    pub async fn compact(&self) -> anyhow::Result<()> {
        let etcd = SocketAddr::from(([127, 0, 0, 1], self.etcd_port));
        let range = client::post(etcd, "/v3/kv/range", &json!({"key": "Lw=="})).await?;
        let revision =
            range["header"]["revision"].as_str().context("etcd's answer has no revision")?;
        client::post(etcd, "/v3/kv/compaction", &json!({"revision": revision})).await?;
        Ok(())
    }

    /// Starts etcd, on the data that it has written before.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_etcd(&mut self) -> anyhow::Result<()> {
        let folder = self.folder.path();
        let peer = format!("http://127.0.0.1:{}", free_port()?);
        let client = format!("http://127.0.0.1:{}", self.etcd_port);
        let mut command = command(&self.parts.etcd);
        command
            .arg("--data-dir")
            .arg(folder.join("etcd"))
            .args(["--unsafe-no-fsync", "--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client, "--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer, "--log-level", "error"])
            .args(["--initial-cluster", &format!("default={peer}")]);
        self.etcd = Some(spawn(&mut command, &folder.join("etcd.log"))?);
        Ok(())
    }

    /// Starts the API server, and waits until it is ready.
    ///
    /// # Errors
    /// If it is not ready in time, with the end of its log.
    pub async fn start_apiserver(&mut self) -> anyhow::Result<()> {
        let folder = self.folder.path();
        let mut command = command(&self.parts.kubernetes.apiserver);
        command
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(format!("--service-account-key-file={}", folder.join("sa.pub").display()))
            .arg(format!("--service-account-signing-key-file={}", folder.join("sa.key").display()))
            .arg(format!("--cert-dir={}", folder.join("certs").display()))
            .arg(format!("--token-auth-file={}", folder.join("tokens.csv").display()))
            .arg(format!("--audit-policy-file={}", folder.join("audit-policy.json").display()))
            .arg(format!("--audit-log-path={}", folder.join(audit::LOG).display()))
            .arg(format!("--secure-port={}", self.port))
            .args(["--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16"])
            .arg("--watch-cache=true");
        command.arg(format!("--advertise-address={}", self.address()));
        match self.node {
            None => command.args(["--bind-address=127.0.0.1", "--endpoint-reconciler-type=none"]),
            // Pods find the API server by the Service `kubernetes`, and some are privileged.
            Some(_) => command
                .args(["--bind-address=0.0.0.0", "--allow-privileged=true"])
                .arg("--kubelet-preferred-address-types=InternalIP"),
        };
        self.apiserver = Some(spawn(&mut command, &folder.join("apiserver.log"))?);
        let ready = async {
            loop {
                if let Ok(client) = self.client_of(self.admin_token()).await
                    && client.request_text(request("/readyz")?).await.is_ok()
                {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.map_err(|_| {
            anyhow::anyhow!("kube-apiserver is not ready:\n{}", self.log("apiserver.log"))
        })?
    }

    /// Starts kube-controller-manager with only these of its controllers.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn start_controllers(&mut self, names: &str) -> anyhow::Result<()> {
        let folder = self.folder.path();
        let mut command = command(&self.parts.kubernetes.controller_manager);
        command
            .arg(format!("--kubeconfig={}", self.kubeconfig(self.admin_token())?.display()))
            .arg(format!("--cert-dir={}", folder.join("manager-certs").display()))
            .arg(format!("--secure-port={}", free_port()?))
            .arg(format!("--controllers={names}"))
            // Instead of 15 s, so that a test does not wait for an autoscaler.
            .arg("--horizontal-pod-autoscaler-sync-period=1s")
            .args(["--leader-elect=false", "--bind-address=127.0.0.1"]);
        let log = folder.join("controller-manager.log");
        self.controller_manager = Some(spawn(&mut command, &log)?);
        Ok(())
    }
}

fn request(path: &str) -> anyhow::Result<hyper::Request<Vec<u8>>> {
    Ok(hyper::Request::get(path).body(Vec::new())?)
}

/// A command whose process ends with this one, even if this one is killed.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    Command::from(killed_with_parent(program))
}

/// A child process. Dropping it kills it and waits until it has ended: it writes nothing after that.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.start_kill());
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

pub(crate) async fn kill(running: &mut Option<Running>) -> anyhow::Result<()> {
    if let Some(mut running) = running.take() {
        running.kill().await?;
    }
    Ok(())
}

/// Starts a process that appends its output to `log`.
pub(crate) fn spawn(command: &mut Command, log: &Path) -> anyhow::Result<Running> {
    let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
    Ok(Running(child))
}

/// Writes the key pair with which the API server signs the tokens of ServiceAccounts.
pub(super) fn write_keys(folder: &Path) -> anyhow::Result<()> {
    let key = folder.join("sa.key");
    crate::module::run(
        std::process::Command::new("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048"),
    )
    .context("cannot create a key pair; install openssl")?;
    crate::module::run(
        std::process::Command::new("openssl")
            .args(["rsa", "-pubout", "-in"])
            .arg(&key)
            .arg("-out")
            .arg(folder.join("sa.pub")),
    )
}

/// The loopback of a new network namespace is down. Elsewhere it is up, or we may not set it.
pub(crate) fn set_loopback_up() {
    let up = ["link", "set", "lo", "up"];
    drop(std::process::Command::new("ip").args(up).stderr(Stdio::null()).status());
}

/// A port that is free on all addresses. It lies below the system's range of ephemeral ports, so no
/// connection takes it meanwhile.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let mut candidates = std::iter::repeat_with(|| NEXT.fetch_add(1, Ordering::Relaxed));
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok();
    candidates.by_ref().take(10_000).find(is_free).context("no free port from 20000 on")
}
