//! The cluster's processes: how each is started, and how it is killed as a crash would.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use anyhow::Context as _;
use serde_json::json;
use tokio::process::{Child, Command};

use super::{ADMIN, Cluster, PATIENCE};
use crate::client;

impl Cluster {
    /// Kills the API server, as a crash would.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill_apiserver(&mut self) -> anyhow::Result<()> {
        kill(&mut self.apiserver).await
    }

    /// Kills etcd, as a crash would. What it has written stays.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill_etcd(&mut self) -> anyhow::Result<()> {
        kill(&mut self.etcd).await
    }

    /// Makes etcd forget all but the newest version of everything, as Kubernetes does every five
    /// minutes: a watch that is behind is too old then.
    ///
    /// # Errors
    /// When etcd does not answer (its gateway of gRPC to JSON, `/v3/kv/…`).
    pub async fn compact(&self) -> anyhow::Result<()> {
        let etcd = SocketAddr::from(([127, 0, 0, 1], self.etcd_port));
        let range = client::post(etcd, "/v3/kv/range", &json!({"key": "Lw=="})).await?;
        let revision = range["header"]["revision"].as_str().context("etcd names no revision")?;
        client::post(etcd, "/v3/kv/compaction", &json!({"revision": revision})).await?;
        Ok(())
    }

    /// Starts etcd on what it has written.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_etcd(&mut self) -> anyhow::Result<()> {
        let folder = self.folder.path();
        let peer = format!("http://127.0.0.1:{}", free_port()?);
        let client = format!("http://127.0.0.1:{}", self.etcd_port);
        let mut command = Command::new(&self.parts.etcd);
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
    /// When it is not ready in time, with its log's end.
    pub async fn start_apiserver(&mut self) -> anyhow::Result<()> {
        let folder = self.folder.path();
        let mut command = Command::new(&self.parts.apiserver);
        command
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(format!("--service-account-key-file={}", folder.join("sa.pub").display()))
            .arg(format!("--service-account-signing-key-file={}", folder.join("sa.key").display()))
            .arg(format!("--cert-dir={}", folder.join("certs").display()))
            .arg(format!("--token-auth-file={}", folder.join("tokens.csv").display()))
            .arg(format!("--secure-port={}", self.port))
            .args(["--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16"])
            .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
            .args(["--endpoint-reconciler-type=none", "--watch-cache=true"]);
        self.apiserver = Some(spawn(&mut command, &folder.join("apiserver.log"))?);
        let ready = async {
            loop {
                if let Ok(client) = self.client_of(ADMIN).await
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

    /// Starts kube-controller-manager, with its namespace controller and no other.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn start_namespace_controller(&mut self) -> anyhow::Result<()> {
        let folder = self.folder.path();
        let mut command = Command::new(&self.parts.controller_manager);
        command
            .arg(format!("--kubeconfig={}", self.kubeconfig(ADMIN)?.display()))
            .arg(format!("--cert-dir={}", folder.join("manager-certs").display()))
            .arg(format!("--secure-port={}", free_port()?))
            .args(["--controllers=namespace-controller", "--leader-elect=false"])
            .args(["--bind-address=127.0.0.1"]);
        let log = folder.join("controller-manager.log");
        self.controller_manager = Some(spawn(&mut command, &log)?);
        Ok(())
    }
}

fn request(path: &str) -> anyhow::Result<hyper::Request<Vec<u8>>> {
    Ok(hyper::Request::get(path).body(Vec::new())?)
}

pub(super) async fn kill(child: &mut Option<Child>) -> anyhow::Result<()> {
    if let Some(mut child) = child.take() {
        child.kill().await?;
    }
    Ok(())
}

pub(super) fn spawn(command: &mut Command, log: &Path) -> anyhow::Result<Child> {
    let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))
}

/// The key pair by which the API server signs the tokens of ServiceAccounts.
pub(super) fn write_keys(folder: &Path) -> anyhow::Result<()> {
    let key = folder.join("sa.key");
    crate::module::run(
        std::process::Command::new("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048"),
    )
    .context("cannot make a key: install openssl")?;
    crate::module::run(
        std::process::Command::new("openssl")
            .args(["rsa", "-pubout", "-in"])
            .arg(&key)
            .arg("-out")
            .arg(folder.join("sa.pub")),
    )
}

/// A port that is free on all addresses, and that no connection gets: it lies below the system's
/// range of ephemeral ports.
pub(super) fn free_port() -> anyhow::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let mut candidates = std::iter::repeat_with(|| NEXT.fetch_add(1, Ordering::Relaxed));
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok();
    candidates.by_ref().take(10_000).find(is_free).context("no port is free")
}
