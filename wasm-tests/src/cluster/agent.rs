//! Istio's agent with an Envoy: a sidecar, or a gateway.
//!
//! There are no iptables: the outbound listeners are on a loopback address of the workload's own,
//! where a `Sidecar` object puts them. The agent fetches modules as in a Pod, into a file system of
//! its own.

mod pod;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{
    Cluster, PATIENCE,
    istiod::local_address,
    obtain,
    processes::{Running, command, free_port, spawn},
};
use crate::{client, module::run, process::send_signal};

pub use self::pod::Pod;

/// An agent and its Envoy. Dropping it ends both.
#[derive(Debug)]
pub struct Agent {
    child: Running,
    log: PathBuf,
    /// The agent's port: health, and the metrics of both.
    status: SocketAddr,
    /// Envoy's admin interface.
    admin: SocketAddr,
}

impl Cluster {
    /// Starts an agent and waits until it and its Envoy are ready.
    ///
    /// # Errors
    /// If they are not ready in time, with the end of the log.
    pub async fn agent(&self, envoy: &Path, pod: &Pod) -> anyhow::Result<Agent> {
        let folder = self.folder.path().join(format!("{}.{}", pod.workload, pod.namespace));
        fs::create_dir_all(folder.join("etc/istio/proxy"))?;
        let (admin, status) = (free_port()?, free_port()?);
        let proxy_config = self.proxy_config(&envoy_script(&folder, envoy)?, admin, status);
        let mut command = own_file_system(&obtain::agent()?);
        command
            .process_group(0)
            .current_dir(&folder)
            .args(["proxy", pod.role, "--domain", &format!("{}.svc.cluster.local", pod.namespace)])
            .args(["--proxyLogLevel", "warning,wasm:info"])
            .arg("--log_output_level=default:info,ca:none,cache:none,citadelclient:none,sds:none")
            .env("ISTIO_BOOTSTRAP", obtain::istio_bootstrap()?)
            .env("PROXY_CONFIG", proxy_config.to_string())
            .env("POD_NAME", pod.name())
            .env("POD_NAMESPACE", &pod.namespace)
            .env("INSTANCE_IP", local_address()?.to_string())
            .env("SERVICE_ACCOUNT", &pod.workload)
            // For this port the agent takes the CA to be one without TLS and needs no root certificate
            // (istio: `NewCitadelClient`). Nothing listens there: a mesh without mTLS needs no CA.
            .env("CA_ADDR", "127.0.0.1:15010")
            .env("ISTIO_META_INTERCEPTION_MODE", "NONE")
            .env("ISTIO_META_CLUSTER_ID", "Kubernetes")
            .env("ISTIO_METAJSON_LABELS", Value::from(pod.labels()).to_string())
            .env("ENVOY_STATUS_PORT", free_port()?.to_string())
            .env("ENVOY_PROMETHEUS_PORT", free_port()?.to_string());
        let log = self.folder.path().join(format!("{}.log", pod.workload));
        let child = spawn(&mut command, &log)?;
        let local = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let mut agent = Agent { child, log, status: local(status), admin: local(admin) };
        agent.wait_until_ready().await?;
        self.announce(pod, status).await?;
        Ok(agent)
    }

    fn proxy_config(&self, envoy: &Path, admin: u16, status: u16) -> Value {
        json!({
            "binaryPath": envoy,
            "discoveryAddress": format!("127.0.0.1:{}", self.istiod_port),
            "controlPlaneAuthPolicy": "NONE",
            "concurrency": 1,
            "proxyAdminPort": admin,
            "statusPort": status,
            // Exports requests and their durations, as a mesh with Istio's own metrics does.
            "proxyStatsMatcher": {"inclusionPrefixes": ["http.outbound"]},
            // The README recommends these, so that skycap's counters have labels.
            "extraStatTags": ["outcome", "reason", "plugin"],
        })
    }

    /// Creates the Pod and its status in the API server, as the injector and the kubelet do.
    async fn announce(&self, pod: &Pod, port: u16) -> anyhow::Result<()> {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": pod.namespace}});
        self.apply(&account).await?;
        let mut manifest = pod.manifest();
        manifest["metadata"]["annotations"] = json!({"status.sidecar.istio.io/port": port.to_string(), "sidecar.istio.io/status": "{}"});
        self.apply(&manifest).await?;
        let address = local_address()?;
        let status =
            json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}});
        let pods = kube::Api::<k8s_openapi::api::core::v1::Pod>::namespaced(
            self.client.clone(),
            &pod.namespace,
        );
        let params = kube::api::PatchParams::default();
        pods.patch_status(&pod.name(), &params, &kube::api::Patch::Merge(&status)).await?;
        Ok(())
    }
}

impl Agent {
    /// The answer of Envoy's admin interface.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn admin(&self, path: &str) -> anyhow::Result<String> {
        client::get(self.admin, path).await
    }

    /// What Prometheus reads: the metrics of the agent and of Envoy.
    ///
    /// # Errors
    /// If the agent does not answer.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        client::get(self.status, "/stats/prometheus").await
    }

    /// The sum of all series of the metric `name` that have all of these labels.
    ///
    /// # Errors
    /// If the agent does not answer.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> anyhow::Result<f64> {
        let text = self.metrics().await?;
        let series = text.lines().filter(|line| {
            line.split(['{', ' ']).next() == Some(name)
                && labels.iter().all(|label| line.contains(label))
        });
        Ok(series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// The address where Prometheus reads the metrics of both.
    #[must_use]
    pub const fn metrics_address(&self) -> SocketAddr {
        self.status
    }

    /// The whole log of both.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Envoy's resident memory, in KiB.
    ///
    /// # Errors
    /// If it has ended.
    pub fn envoy_resident_kib(&self) -> anyhow::Result<u64> {
        let agent = self.child.id().context("the agent has ended")?;
        // A child belongs to the thread that started it.
        let mut children = String::new();
        for thread in fs::read_dir(format!("/proc/{agent}/task"))? {
            children += &fs::read_to_string(thread?.path().join("children"))?;
        }
        let envoy = children.split_whitespace().next().context("the agent has no Envoy")?;
        let status = fs::read_to_string(format!("/proc/{envoy}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Ok(line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?.parse()?)
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while client::get(self.status, "/healthz/ready").await.is_err() || !self.is_live().await {
            if let Some(status) = self.child.try_wait()? {
                bail!("the agent ended with {status}:\n{}", self.log());
            }
            ensure!(Instant::now() < deadline, "the agent is not ready:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn is_live(&self) -> bool {
        self.admin("/ready").await.is_ok_and(|answer| answer.starts_with("LIVE"))
    }
}

impl Drop for Agent {
    /// Kills the whole process group: without its agent, Envoy would go on serving requests.
    fn drop(&mut self) {
        if let Some(group) = self.child.id() {
            // They may have ended by themselves.
            drop(send_signal("KILL", &format!("-{group}")));
        }
    }
}

/// A script in `folder` that runs Envoy in such a way that the kernel kills it when its agent ends.
fn envoy_script(folder: &Path, envoy: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join("envoy.sh");
    let script =
        format!("#!/bin/sh\nexec setpriv --pdeathsig KILL -- '{}' \"$@\"\n", envoy.display());
    fs::write(&path, script)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// The agent keeps modules at a fixed path, which in a Pod is its own: so it gets a file system of
/// its own there.
fn own_file_system(program: &Path) -> Command {
    let unshare = ["--mount", "--propagation", "private", "--"];
    let mut attempt = std::process::Command::new("unshare");
    attempt.args(unshare).args(["mount", "-t", "tmpfs", "tmpfs", "/var/lib"]).stderr(Stdio::null());
    if run(&mut attempt).is_err() {
        // Where mounting is not permitted, all agents share the path of the machine.
        drop(fs::create_dir_all(DATA));
        return command(program);
    }
    let mut command = command("unshare");
    let script = format!("mount -t tmpfs tmpfs /var/lib && mkdir -p {DATA} && exec \"$0\" \"$@\"");
    command.args(unshare).args(["sh", "-c", &script]).arg(program);
    command
}

/// istio: `constants.IstioDataDir`.
const DATA: &str = "/var/lib/istio/data";
