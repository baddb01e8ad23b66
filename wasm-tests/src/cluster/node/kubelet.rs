//! The kubelet, and what makes Pods of Deployments and Services of Pods: the controllers, the scheduler
//! and kube-proxy.

use std::fs;

use serde_json::{Value, json};

use super::{DNS, NODE, NODE_NAME, PODS, machine};
use crate::cluster::{Cluster, processes::free_port};

impl Cluster {
    /// Starts the kubelet, the controllers, the scheduler and kube-proxy.
    pub(super) fn start_kubelet(&mut self) -> anyhow::Result<()> {
        let kubernetes = self.parts.kubernetes.clone();
        for (program, log, args) in [
            (kubernetes.controller_manager, "controller-manager.log", self.controller_args()?),
            (kubernetes.scheduler, "scheduler.log", self.scheduler_args()?),
            (kubernetes.kubelet, "kubelet.log", self.kubelet_args()?),
            (kubernetes.proxy, "kube-proxy.log", proxy_args()?),
        ] {
            let kubeconfig = self.kubeconfig(self.admin_token())?;
            let mut command = self.node_command(program)?;
            command.arg(format!("--kubeconfig={}", kubeconfig.display())).args(args);
            self.start_on_node(&mut command, log)?;
        }
        Ok(())
    }

    fn controller_args(&self) -> anyhow::Result<Vec<String>> {
        let folder = self.folder.path();
        Ok(vec![
            format!("--service-account-private-key-file={}", folder.join("sa.key").display()),
            format!("--root-ca-file={}", folder.join("certs/apiserver.crt").display()),
            format!("--cert-dir={}", folder.join("manager-certs").display()),
            format!("--secure-port={}", free_port()?),
            "--leader-elect=false".into(),
            "--use-service-account-credentials=true".into(),
        ])
    }

    fn scheduler_args(&self) -> anyhow::Result<Vec<String>> {
        let certificates = self.folder.path().join("scheduler-certs");
        Ok(vec![
            format!("--cert-dir={}", certificates.display()),
            format!("--secure-port={}", free_port()?),
            "--leader-elect=false".into(),
        ])
    }

    fn kubelet_args(&self) -> anyhow::Result<Vec<String>> {
        let folder = self.folder.path();
        let config = folder.join("kubelet.json");
        fs::write(&config, self.kubelet_config().to_string())?;
        Ok(vec![
            format!("--config={}", config.display()),
            "--root-dir=/var/lib/kubelet".into(),
            format!("--cert-dir={}", folder.join("kubelet-certs").display()),
            format!("--hostname-override={NODE_NAME}"),
            format!("--node-ip={NODE}"),
        ])
    }

    fn kubelet_config(&self) -> Value {
        let folder = self.folder.path();
        let socket = format!("unix://{}", folder.join("containerd.sock").display());
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            // Some machines still have version 1.
            "failCgroupV1": false,
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": true,
            "cgroupRoot": format!("/{}", machine::name()),
            "enforceNodeAllocatable": [],
            "oomScoreAdj": 0,
            "failSwapOn": false,
            "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
            "authorization": {"mode": "AlwaysAllow"},
            "containerRuntimeEndpoint": socket,
            "imageServiceEndpoint": socket,
            "address": NODE.to_string(),
            "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
            "clusterDNS": [DNS.to_string()],
            "clusterDomain": "cluster.local",
            "resolvConf": "",
            "maxPods": 250,
            "nodeStatusUpdateFrequency": "2s",
            "podLogsDir": "/var/log/pods",
            "serializeImagePulls": false,
            "featureGates": {"KubeletInUserNamespace": true},
        })
    }
}

fn proxy_args() -> anyhow::Result<Vec<String>> {
    Ok(vec![
        format!("--hostname-override={NODE_NAME}"),
        "--proxy-mode=iptables".into(),
        format!("--cluster-cidr={PODS}"),
        // These are settings of the whole machine.
        "--conntrack-max-per-core=0".into(),
        "--conntrack-tcp-timeout-established=0".into(),
        "--conntrack-tcp-timeout-close-wait=0".into(),
        "--iptables-min-sync-period=100ms".into(),
        format!("--metrics-bind-address=127.0.0.1:{}", free_port()?),
        format!("--healthz-bind-address=127.0.0.1:{}", free_port()?),
    ])
}
