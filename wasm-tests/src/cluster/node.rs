//! The node of a cluster whose Pods run: a real kubelet with containerd and runc, kube-proxy, the
//! scheduler, every controller of Kubernetes, and CoreDNS.
//!
//! It runs on a [`machine`] of its own. Nothing is pulled: images are
//! [imported](Cluster::import_image).

mod archive;
mod containerd;
mod dns;
mod image;
mod kubelet;
pub mod machine;

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::Api;
use skycap::desired::istio::PluginKind;
use tokio::process::Command;

pub use self::image::Image;
use super::{
    Cluster, PATIENCE,
    obtain::{IPTABLES, NodePrograms, XTABLES, node_programs},
    processes::{Running, command, spawn},
};
use crate::module::run;

/// A node that runs. Dropping it kills its programs; the containers end with the machine.
pub(super) struct Node {
    programs: NodePrograms,
    running: Vec<Running>,
}

impl Cluster {
    /// Starts a cluster with one node, and waits until that is ready. The only image is CoreDNS.
    ///
    /// # Errors
    /// If this is not a machine of its own, or if a program does not start, with the end of its log.
    pub async fn start_with_node(plugin: PluginKind) -> anyhow::Result<Self> {
        machine::ensure_inside()?;
        prepare_network()?;
        let node = Node { programs: node_programs()?, running: Vec::new() };
        let mut cluster = Self::start_on(plugin, Some(node)).await?;
        cluster.link_iptables()?;
        cluster.start_containerd().await?;
        cluster.start_kubelet()?;
        cluster.start_dns().await?;
        cluster.wait_for_node().await?;
        Ok(cluster)
    }

    /// The address of the API server: the node's, or this machine's if there is no node.
    pub(super) fn address(&self) -> Ipv4Addr {
        self.node.as_ref().map_or(Ipv4Addr::LOCALHOST, |_| NODE)
    }

    fn programs(&self) -> anyhow::Result<&NodePrograms> {
        Ok(&self.node.as_ref().context(NO_NODE)?.programs)
    }

    /// Starts a program of the node, which ends with it.
    fn start_on_node(&mut self, command: &mut Command, log: &str) -> anyhow::Result<()> {
        let running = spawn(command, &self.folder.path().join(log))?;
        self.node.as_mut().context(NO_NODE)?.running.push(running);
        Ok(())
    }

    /// A program of the node, whose process ends with this one.
    fn node_command(&self, program: impl AsRef<Path>) -> anyhow::Result<Command> {
        let programs = self.programs()?;
        let libraries = programs.libraries();
        let system = std::env::var("PATH").unwrap_or_default();
        let bin = |path: &str| programs.file(path).display().to_string();
        let links = self.links().display().to_string();
        let path = [links, bin("usr/sbin"), bin("usr/bin"), system];
        let mut command = command(program.as_ref());
        command
            .env("PATH", path.join(":"))
            .env("XTABLES_LIBDIR", libraries.join("xtables"))
            .env("LD_LIBRARY_PATH", libraries);
        Ok(command)
    }

    /// Where kube-proxy and the CNI plugins find iptables.
    fn links(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    fn link_iptables(&self) -> anyhow::Result<()> {
        let program = self.programs()?.file(&format!("usr/sbin/{XTABLES}"));
        fs::create_dir_all(self.links())?;
        for name in IPTABLES {
            symlink(&program, self.links().join(name))?;
        }
        Ok(())
    }

    async fn wait_for_node(&self) -> anyhow::Result<()> {
        let nodes = Api::<NodeObject>::all(self.client.clone());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let node = nodes.get_opt(NODE_NAME).await?;
            let conditions = node.and_then(|node| node.status?.conditions).unwrap_or_default();
            if conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True") {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the node is not ready: {conditions:?}\n{}\n{}",
                self.log("kubelet.log"),
                self.log("containerd.log")
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The node's address, a way to ClusterIPs (kube-proxy rewrites them only on their way out), and what a
/// router needs.
fn prepare_network() -> anyhow::Result<()> {
    let ip = |args: &str| run(std::process::Command::new("ip").args(args.split(' ')));
    ip("link set lo up")?;
    ip(&format!("addr add {NODE}/32 dev lo"))?;
    ip(&format!("route add {SERVICES} dev lo"))?;
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("cannot forward packets")?;
    // Packets between two Pods pass iptables too: so a ClusterIP works between them.
    let bridge = Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables");
    if bridge.exists() {
        fs::write(bridge, "1")?;
    }
    Ok(())
}

/// The node's address.
const NODE: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 1);
const NODE_NAME: &str = "node-1";
/// The addresses of Pods; the first one is the node's end of the bridge.
const PODS: &str = "10.78.0.0/24";
/// The addresses of Services: the API server's flag.
const SERVICES: &str = "10.96.0.0/16";
/// The address of the Service of CoreDNS.
const DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
const NO_NODE: &str = "the cluster has no node";
