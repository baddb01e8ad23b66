//! istiod, and a stock Envoy that it configures as a sidecar.
//!
//! A stock Envoy lacks Istio's own filters (metadata exchange, stats, ALPN), so istiod is configured
//! without them. Everything else is what it sends to every sidecar.

use std::{
    fs,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::Path,
    time::Duration,
};

use anyhow::ensure;
use serde_json::{Value, json};

use super::{
    Cluster, PATIENCE,
    obtain::ISTIO_VERSION,
    processes::{command, free_port, kill, spawn},
};
use crate::{client, envoy::Process};

impl Cluster {
    /// Starts istiod, and waits until it is ready.
    ///
    /// # Errors
    /// If it cannot be built or is not ready in time, with the end of its log.
    pub async fn start_istiod(&mut self) -> anyhow::Result<()> {
        let istiod = super::obtain::istiod()?;
        let folder = self.folder.path();
        let (grpc, http, monitoring) = (self.istiod_port, free_port()?, free_port()?);
        let mesh = folder.join("mesh.yaml");
        let mut config = self.mesh_config.clone();
        config.insert("enableAutoMtls".into(), false.into());
        let address = json!({"discoveryAddress": format!("127.0.0.1:{grpc}")});
        config.entry("defaultConfig").or_insert(address);
        fs::write(&mesh, Value::from(config).to_string())?;
        let mut command = command(istiod);
        command
            .current_dir(folder)
            .arg("discovery")
            .arg(format!("--kubeconfig={}", self.kubeconfig(self.admin_token())?.display()))
            .arg(format!("--meshConfig={}", mesh.display()))
            .arg(format!("--grpcAddr=127.0.0.1:{grpc}"))
            .arg(format!("--httpAddr=127.0.0.1:{http}"))
            .arg(format!("--monitoringAddr=127.0.0.1:{monitoring}"))
            .args(["--httpsAddr=", "--secureGRPCAddr=", "--ctrlz_port=0"])
            .env("PILOT_ENABLE_ALPN_FILTER", "false")
            .env("PILOT_ENABLE_METADATA_EXCHANGE", "false")
            .env("PILOT_ENABLE_TELEMETRY", "false")
            .env("POD_NAMESPACE", "istio-system")
            .env("POD_NAME", "istiod-0");
        self.istiod = Some(spawn(&mut command, &folder.join("istiod.log"))?);
        let address = SocketAddr::from(([127, 0, 0, 1], http));
        let deadline = std::time::Instant::now() + PATIENCE;
        while client::get(address, "/ready").await.is_err() {
            ensure!(
                std::time::Instant::now() < deadline,
                "istiod is not ready:\n{}",
                self.log("istiod.log")
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Kills istiod, as in a crash.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub async fn kill_istiod(&mut self) -> anyhow::Result<()> {
        kill(&mut self.istiod).await
    }

    /// Starts an Envoy that istiod configures as the sidecar of a workload in this namespace. Its
    /// outbound listeners are on 127.0.0.1, at the Services' ports.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn sidecar(
        &self,
        envoy: &Path,
        workload: &str,
        namespace: &str,
    ) -> anyhow::Result<Process> {
        let grpc = self.istiod_port;
        let folder = self.folder.path().join(format!("{workload}.{namespace}"));
        fs::create_dir_all(&folder)?;
        let node = format!(
            "sidecar~{}~{workload}-1.{namespace}~{namespace}.svc.cluster.local",
            local_address()?
        );
        Process::start(envoy, &bootstrap(grpc, namespace, workload), &node, 1, &folder).await
    }
}

/// An address of this machine for EndpointSlices, which do not accept 127.0.0.1. In a network
/// namespace, this adds an address; elsewhere, it is the machine's own.
///
/// # Errors
/// If the machine has none.
pub fn local_address() -> anyhow::Result<IpAddr> {
    let own = IpAddr::from([10, 77, 0, 1]);
    let add = ["addr", "add", "10.77.0.1/32", "dev", "lo"];
    drop(std::process::Command::new("ip").args(add).stderr(std::process::Stdio::null()).status());
    if UdpSocket::bind((own, 0)).is_ok() {
        return Ok(own);
    }
    // This sends nothing: the system only picks the address that it would send from.
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect("192.0.2.1:9")?;
    Ok(socket.local_addr()?.ip())
}

fn bootstrap(grpc: u16, namespace: &str, workload: &str) -> Value {
    let ads = json!({"ads": {}, "resource_api_version": "V3"});
    let http2 = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        },
    });
    json!({
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "node": {"metadata": {
            "NAMESPACE": namespace,
            "CLUSTER_ID": "Kubernetes",
            "ISTIO_VERSION": ISTIO_VERSION,
            "LABELS": {"app": workload},
            "INTERCEPTION_MODE": "NONE",
        }},
        // As Istio's own bootstrap has it (istio: pkg/bootstrap, `runtime_flags`).
        "layered_runtime": {"layers": [
            {"name": "static", "static_layer": {"re2.max_program_size.error_level": 32768}},
        ]},
        "dynamic_resources": {
            "lds_config": ads,
            "cds_config": ads,
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "istiod"}}],
            },
        },
        "static_resources": {"clusters": [{
            "name": "istiod",
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": http2,
            "load_assignment": {"cluster_name": "istiod", "endpoints": [{"lb_endpoints": [{
                "endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": grpc}}},
            }]}]},
        }]},
    })
}
