//! Where the programs of a cluster come from: Go's module proxy and Debian's packages. They are built
//! or unpacked once, into the cache. The CRDs and charts are read from Go's module cache.

mod browser;
mod databases;
mod debian;
mod go;

use std::{path::PathBuf, process::Command};

use anyhow::Context as _;

use self::go::GoModule;
pub use self::{
    browser::{Browser, browser},
    databases::{Databases, databases},
    debian::{IPTABLES, NodePrograms, XTABLES, faketime, node_programs, prometheus, registry},
};

/// The programs and CRDs of a cluster.
#[derive(Debug, Clone)]
pub struct Parts {
    /// etcd.
    pub etcd: PathBuf,
    /// The programs of Kubernetes.
    pub kubernetes: Kubernetes,
    /// Files of CustomResourceDefinitions: Istio's, and the Gateway API's standard channel.
    pub crds: Vec<PathBuf>,
    /// The Gateway API's routes of the oldest version that skycap writes.
    pub oldest_routes: Vec<PathBuf>,
}

/// The programs of Kubernetes, with CoreDNS and Helm. All are links to one file, which acts as the
/// program by whose name it is called.
#[derive(Debug, Clone)]
pub struct Kubernetes {
    /// kube-apiserver.
    pub apiserver: PathBuf,
    /// kube-controller-manager.
    pub controller_manager: PathBuf,
    /// kube-scheduler.
    pub scheduler: PathBuf,
    /// kubelet.
    pub kubelet: PathBuf,
    /// kube-proxy.
    pub proxy: PathBuf,
    /// CoreDNS, with the plugins that a cluster needs.
    pub coredns: PathBuf,
    /// Helm 4.
    pub helm: PathBuf,
}

/// Builds the programs that are not in the cache yet: about fifteen minutes on two cores, once for all
/// checkouts.
///
/// # Errors
/// If Go is not installed, or a build fails.
pub fn obtain() -> anyhow::Result<Parts> {
    Command::new("go")
        .arg("version")
        .output()
        .context("cannot run `go`; install Go 1.26 or newer")?;
    let routes = |part: &'static str| -> anyhow::Result<[PathBuf; 2]> {
        let module = GoModule(part).folder_of("sigs.k8s.io/gateway-api")?;
        let crd = |name: &str| {
            module.join(format!("config/crd/standard/gateway.networking.k8s.io_{name}.yaml"))
        };
        Ok([crd("httproutes"), crd("grpcroutes")])
    };
    let [http_routes, grpc_routes] = routes("kubernetes")?;
    let istio_crds = istio_sources()?.join("manifests/charts/base/files/crd-all.gen.yaml");
    let kubernetes = |name: &str| GoModule("kubernetes").program(name, ".");
    Ok(Parts {
        etcd: GoModule("etcd").program("etcd", "go.etcd.io/etcd/server/v3")?,
        kubernetes: Kubernetes {
            apiserver: kubernetes("kube-apiserver")?,
            controller_manager: kubernetes("kube-controller-manager")?,
            scheduler: kubernetes("kube-scheduler")?,
            kubelet: kubernetes("kubelet")?,
            proxy: kubernetes("kube-proxy")?,
            coredns: kubernetes("coredns")?,
            helm: kubernetes("helm")?,
        },
        crds: vec![istio_crds, http_routes, grpc_routes],
        oldest_routes: routes("gateway-api")?.into(),
    })
}

/// Builds istiod if it is not in the cache yet: about nine minutes on two cores, once for all
/// checkouts.
///
/// # Errors
/// If Go is not installed, or the build fails.
pub fn istiod() -> anyhow::Result<PathBuf> {
    GoModule("istio").program("pilot-discovery", ".")
}

/// Istio's agent, which is the same file as istiod.
///
/// # Errors
/// If Go is not installed, or the build fails.
pub fn agent() -> anyhow::Result<PathBuf> {
    GoModule("istio").program("pilot-agent", ".")
}

/// Builds kube-score, the linter of manifests, if it is not in the cache yet: about a minute.
///
/// # Errors
/// If Go is not installed, or the build fails.
pub fn kube_score() -> anyhow::Result<PathBuf> {
    GoModule("kube-score").program("kube-score", "github.com/zegl/kube-score/cmd/kube-score")
}

/// Builds act, which runs GitHub's workflows locally, if it is not in the cache yet: about two minutes.
///
/// # Errors
/// If Go is not installed, or the build fails.
pub fn act() -> anyhow::Result<PathBuf> {
    GoModule("act").program("act", "github.com/nektos/act")
}

/// Helm 3, which cannot be part of the program that Helm 4 is in. Built from the same packages, so it takes
/// only some seconds more after that.
///
/// # Errors
/// If Go is not installed, or the build fails.
pub fn helm_3() -> anyhow::Result<PathBuf> {
    GoModule("kubernetes").program("helm-3", "helm.sh/helm/v3/cmd/helm")
}

/// The version of which Istio's sources are the development branch. They themselves do not say it.
pub const ISTIO_VERSION: &str = "1.31.0";

/// The template of the bootstrap that the agent passes to its Envoy.
///
/// # Errors
/// If Istio's module cannot be downloaded.
pub fn istio_bootstrap() -> anyhow::Result<PathBuf> {
    Ok(istio_sources()?.join("tools/packaging/common/envoy_bootstrap.json"))
}

/// The folder of Istio's sources, with its charts.
///
/// # Errors
/// If Istio's module cannot be downloaded.
pub fn istio_sources() -> anyhow::Result<PathBuf> {
    GoModule("istio").folder_of("istio.io/istio")
}
