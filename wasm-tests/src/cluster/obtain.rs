//! Where etcd and kube-apiserver come from: Go's module proxy, at the versions that the `go.mod`
//! files of `wasm-tests/cluster` pin. They are built once and kept in the cache, keyed by the hash
//! of their `go.sum`; the CRDs are read where Go keeps the modules.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;
use skycap_core::config::Generation;

use crate::{module::run, progress::Progress, workspace};

/// The programs and CRDs of a cluster.
#[derive(Debug, Clone)]
pub struct Parts {
    /// etcd.
    pub etcd: PathBuf,
    /// kube-apiserver.
    pub apiserver: PathBuf,
    /// kube-controller-manager.
    pub controller_manager: PathBuf,
    /// Files of CustomResourceDefinitions: Istio's, and the Gateway API's standard channel.
    pub crds: Vec<PathBuf>,
    /// The Gateway API's routes of the oldest version that skycap writes.
    pub oldest_routes: Vec<PathBuf>,
}

/// Builds what is not there yet: about ten minutes on two cores, once for all checkouts.
///
/// # Errors
/// When there is no Go, or a build fails.
pub fn obtain() -> anyhow::Result<Parts> {
    Command::new("go")
        .arg("version")
        .output()
        .context("there is no `go`; install Go 1.26 or newer")?;
    let istio = module_folder("istio", "istio.io/istio")?;
    let routes = |part: &str| -> anyhow::Result<[PathBuf; 2]> {
        let standard = module_folder(part, "sigs.k8s.io/gateway-api")?.join("config/crd/standard");
        let crd = |name: &str| standard.join(format!("gateway.networking.k8s.io_{name}.yaml"));
        Ok([crd("httproutes"), crd("grpcroutes")])
    };
    let [http_routes, grpc_routes] = routes("kubernetes")?;
    Ok(Parts {
        etcd: build("etcd", "etcd", "go.etcd.io/etcd/server/v3")?,
        apiserver: build("kubernetes", "kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver")?,
        controller_manager: build(
            "kubernetes",
            "kube-controller-manager",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
        )?,
        crds: vec![
            istio.join("manifests/charts/base/files/crd-all.gen.yaml"),
            http_routes,
            grpc_routes,
        ],
        oldest_routes: routes("gateway-api")?.into(),
    })
}

/// istiod: about nine minutes on two cores, once for all checkouts.
///
/// # Errors
/// When there is no Go, or the build fails.
pub fn istiod() -> anyhow::Result<PathBuf> {
    build("istio", "pilot-discovery", "istio.io/istio/pilot/cmd/pilot-discovery")
}

/// Istio's agent, which shares nearly all of istiod's build.
///
/// # Errors
/// When there is no Go, or the build fails.
pub fn agent() -> anyhow::Result<PathBuf> {
    build("istio", "pilot-agent", "istio.io/istio/pilot/cmd/pilot-agent")
}

/// The template of the bootstrap that the agent gives its Envoy.
///
/// # Errors
/// When Istio's module cannot be had.
pub(super) fn istio_bootstrap() -> anyhow::Result<PathBuf> {
    let istio = module_folder("istio", "istio.io/istio")?;
    Ok(istio.join("tools/packaging/common/envoy_bootstrap.json"))
}

/// libfaketime, which gives a program a wall clock of its own.
///
/// # Errors
/// When there is none and it cannot be had, with what to install.
pub fn faketime() -> anyhow::Result<PathBuf> {
    let library =
        format!("usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH);
    debian("libfaketime", &library)
}

/// An OCI registry.
///
/// # Errors
/// When there is none and it cannot be had, with what to install.
pub fn registry() -> anyhow::Result<PathBuf> {
    debian("docker-registry", "usr/bin/docker-registry")
}

/// Prometheus.
///
/// # Errors
/// When there is none and it cannot be had, with what to install.
pub fn prometheus() -> anyhow::Result<PathBuf> {
    debian("prometheus", "usr/bin/prometheus")
}

/// A file of a Debian package: the system's, else of the package unpacked into the cache.
fn debian(package: &str, file: &str) -> anyhow::Result<PathBuf> {
    let unpacked = workspace::cache()?.join(package);
    let places = [Path::new("/").join(file), unpacked.join(file)];
    if let Some(place) = places.iter().find(|place| place.is_file()) {
        return Ok(place.clone());
    }
    fs::create_dir_all(&unpacked)?;
    let wanted =
        || format!("cannot get {package}; install it (on Debian `apt-get install {package}`)");
    let mut download = Command::new("apt-get");
    download.current_dir(&unpacked).args(["download", package]);
    if run(&mut download).is_err() {
        // A fresh machine has no lists of packages yet.
        run(Command::new("apt-get").arg("update")).with_context(wanted)?;
        run(&mut download).with_context(wanted)?;
    }
    let archive = fs::read_dir(&unpacked)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(wanted)?;
    run(Command::new("dpkg").arg("-x").arg(archive).arg(&unpacked)).with_context(wanted)?;
    Ok(unpacked.join(file))
}

fn build(part: &str, binary: &str, package: &str) -> anyhow::Result<PathBuf> {
    let folder = pinned(part);
    let version = Generation::of(&fs::read(folder.join("go.sum"))?);
    let target = workspace::cache()?.join(format!("{binary}-{version}")).join(binary);
    if !target.is_file() {
        let _progress = Progress::new(&format!("building {binary}, once"));
        // Under another name first: a build that is broken off leaves nothing that looks whole.
        let unfinished = target.with_extension(std::process::id().to_string());
        run(go(&folder)
            .args(["build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o"])
            .arg(&unfinished)
            .arg(package))?;
        fs::rename(unfinished, &target)?;
    }
    Ok(target)
}

/// Where Go keeps a module, after it was downloaded.
fn module_folder(part: &str, module: &str) -> anyhow::Result<PathBuf> {
    let folder = pinned(part);
    run(go(&folder).args(["mod", "download"]).arg(module))?;
    let output = go(&folder).args(["list", "-m", "-f", "{{.Dir}}", module]).output()?;
    let path = String::from_utf8(output.stdout)?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(PathBuf::from(path.trim()))
}

fn go(folder: &Path) -> Command {
    let mut command = Command::new("go");
    command.current_dir(folder).env("CGO_ENABLED", "0");
    command
}

fn pinned(part: &str) -> PathBuf {
    workspace::root().join("wasm-tests/cluster").join(part)
}
