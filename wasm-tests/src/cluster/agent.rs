//! Istio's own agent with an Envoy: a sidecar, or a gateway.
//!
//! There are no iptables: outbound listeners are on a loopback address of the workload's own, where
//! a `Sidecar` object puts them. The agent fetches modules as in a Pod, into a file system of its own.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::{
    Cluster, PATIENCE,
    istiod::local_address,
    obtain,
    processes::{free_port, spawn},
};
use crate::{client, module::run};

/// An agent and its Envoy, until they are dropped.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    log: PathBuf,
    /// Of the agent: health, and the metrics of both.
    status: SocketAddr,
    /// Of Envoy's admin interface.
    admin: SocketAddr,
}

/// What an agent is told of its Pod.
#[derive(Debug, Clone)]
pub struct Pod {
    /// The workload, and its label `app`.
    pub workload: String,
    /// Its namespace.
    pub namespace: String,
    /// `sidecar` or `router`.
    pub role: &'static str,
    /// Further labels.
    pub labels: Vec<(String, String)>,
}

impl Pod {
    /// A workload with a sidecar in namespace `shop`.
    #[must_use]
    pub fn sidecar(workload: &str) -> Self {
        Self {
            workload: workload.into(),
            namespace: "shop".into(),
            role: "sidecar",
            labels: Vec::new(),
        }
    }

    /// Istio's ingress gateway.
    #[must_use]
    pub fn gateway() -> Self {
        Self {
            workload: "istio-ingressgateway".into(),
            namespace: "istio-system".into(),
            role: "router",
            labels: vec![("istio".into(), "ingressgateway".into())],
        }
    }

    /// The Pod as the API server is to know it.
    fn manifest(&self) -> Value {
        let containers = ["app", "istio-proxy"].map(|name| json!({"name": name, "image": name}));
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name(), "namespace": self.namespace, "labels": self.labels()},
            "spec": {"containers": containers},
        })
    }

    /// The object that puts this workload's outbound listeners on `address`.
    #[must_use]
    pub fn outbound(&self, address: Ipv4Addr, outbound: &Value) -> Value {
        let mut spec = json!({
            "workloadSelector": {"labels": {"app": self.workload}},
            "egress": [{"bind": address, "hosts": ["*/*"]}],
        });
        if !outbound.is_null() {
            spec["outboundTrafficPolicy"] = outbound.clone();
        }
        json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "Sidecar",
            "metadata": {"name": self.workload, "namespace": self.namespace},
            "spec": spec,
        })
    }

    fn name(&self) -> String {
        format!("{}-1", self.workload)
    }

    fn labels(&self) -> serde_json::Map<String, Value> {
        let app = ("app".to_owned(), self.workload.clone());
        let labels = self.labels.iter().cloned().chain([app]);
        labels.map(|(name, value)| (name, value.into())).collect()
    }
}

impl Cluster {
    /// Starts an agent and waits until it and its Envoy are ready.
    ///
    /// # Errors
    /// When they are not in time, with the log's end.
    pub async fn agent(&self, envoy: &Path, pod: &Pod) -> anyhow::Result<Agent> {
        let program = obtain::agent()?;
        let folder = self.folder.path().join(format!("{}.{}", pod.workload, pod.namespace));
        fs::create_dir_all(folder.join("etc/istio/proxy"))?;
        let [admin, status, envoy_status, prometheus] =
            [free_port()?, free_port()?, free_port()?, free_port()?];
        let proxy_config = json!({
            "binaryPath": envoy,
            "discoveryAddress": format!("127.0.0.1:{}", self.istiod_port),
            "controlPlaneAuthPolicy": "NONE",
            "concurrency": 1,
            "proxyAdminPort": admin,
            "statusPort": status,
            // As in a mesh with Istio's own metrics, requests and their times are exported.
            "proxyStatsMatcher": {"inclusionPrefixes": ["http.outbound"]},
            // What skycap's README asks for, so that its counters have labels.
            "extraStatTags": ["outcome", "reason", "plugin"],
        });
        let mut command = own_file_system(&program);
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
            // At this port the agent takes a CA to be without TLS, and wants no root certificate
            // (istio: `NewCitadelClient`). Nobody is there: a mesh without mTLS needs none.
            .env("CA_ADDR", "127.0.0.1:15010")
            .env("ISTIO_META_INTERCEPTION_MODE", "NONE")
            .env("ISTIO_META_CLUSTER_ID", "Kubernetes")
            .env("ISTIO_METAJSON_LABELS", Value::from(pod.labels()).to_string())
            .env("ENVOY_STATUS_PORT", envoy_status.to_string())
            .env("ENVOY_PROMETHEUS_PORT", prometheus.to_string());
        let log = self.folder.path().join(format!("{}.log", pod.workload));
        let child = spawn(&mut command, &log)?;
        let local = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let mut agent = Agent { child, log, status: local(status), admin: local(admin) };
        agent.wait_until_ready().await?;
        self.announce(pod, status).await?;
        Ok(agent)
    }

    /// Tells the API server of the Pod, as injector and kubelet would.
    async fn announce(&self, pod: &Pod, port: u16) -> anyhow::Result<()> {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": pod.namespace}});
        self.apply(&account).await?;
        let mut manifest = pod.manifest();
        manifest["metadata"]["annotations"] = json!({"prometheus.io/port": port.to_string()});
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
    /// When it does not answer.
    pub async fn admin(&self, path: &str) -> anyhow::Result<String> {
        client::get(self.admin, path).await
    }

    /// What Prometheus reads: the agent's metrics and Envoy's.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        client::get(self.status, "/stats/prometheus").await
    }

    /// The sum of all series of a metric whose labels have all of these.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> anyhow::Result<f64> {
        let text = self.metrics().await?;
        let series = text.lines().filter(|line| {
            line.split(['{', ' ']).next() == Some(name)
                && labels.iter().all(|label| line.contains(label))
        });
        Ok(series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Where Prometheus reads the metrics of both.
    #[must_use]
    pub const fn metrics_address(&self) -> SocketAddr {
        self.status
    }

    /// All that both have logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Memory of Envoy in RAM, in KiB.
    ///
    /// # Errors
    /// When it has ended.
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
    /// An agent that is killed leaves its Envoy behind, which would go on taking requests.
    fn drop(&mut self) {
        if let Some(group) = self.child.id() {
            let mut kill = std::process::Command::new("kill");
            drop(kill.args(["-s", "KILL", "--", &format!("-{group}")]).status());
        }
    }
}

/// The agent keeps modules at a fixed path: in a Pod that is its own.
fn own_file_system(program: &Path) -> Command {
    let unshare = ["--mount", "--propagation", "private", "--"];
    let mut attempt = std::process::Command::new("unshare");
    attempt.args(unshare).args(["mount", "-t", "tmpfs", "tmpfs", "/var/lib"]).stderr(Stdio::null());
    if run(&mut attempt).is_err() {
        // Where no mount is allowed, the path must be there: the machine's own.
        drop(fs::create_dir_all(DATA));
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    let script = format!("mount -t tmpfs tmpfs /var/lib && mkdir -p {DATA} && exec \"$0\" \"$@\"");
    command.args(unshare).args(["sh", "-c", &script]).arg(program);
    command
}

/// istio: `constants.IstioDataDir`.
const DATA: &str = "/var/lib/istio/data";
