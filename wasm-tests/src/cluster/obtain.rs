//! Where the programs of a cluster come from: Go's module proxy, at the versions that the `go.mod`
//! files of `wasm-tests/cluster` pin. They are built once and kept in the cache, by the hash of their
//! `go.sum`. The CRDs are read from Go's module cache.

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

/// Builds the programs that are not in the cache yet: about ten minutes on two cores, once for all
/// checkouts.
///
/// # Errors
/// If Go is not installed, or a build fails.
pub fn obtain() -> anyhow::Result<Parts> {
    Command::new("go")
        .arg("version")
        .output()
        .context("cannot run `go`; install Go 1.26 or newer")?;
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

/// Builds istiod if it is not in the cache yet: about nine minutes on two cores, once for all
/// checkouts.
///
/// # Errors
/// If Go is not installed, or the build fails.
pub fn istiod() -> anyhow::Result<PathBuf> {
    build("istio", "pilot-discovery", "istio.io/istio/pilot/cmd/pilot-discovery")
}

/// Builds Istio's agent if it is not in the cache yet. It shares nearly all of istiod's build.
///
/// # Errors
/// If Go is not installed, or the build fails.
pub fn agent() -> anyhow::Result<PathBuf> {
    build("istio", "pilot-agent", "istio.io/istio/pilot/cmd/pilot-agent")
}

/// Builds kube-score, the linter of manifests, if it is not in the cache yet: about a minute.
///
/// # Errors
/// If Go is not installed, or the build fails.
pub fn kube_score() -> anyhow::Result<PathBuf> {
    build("kube-score", "kube-score", "github.com/zegl/kube-score/cmd/kube-score")
}

/// The template of the bootstrap that the agent passes to its Envoy.
///
/// # Errors
/// If Istio's module cannot be downloaded.
pub(super) fn istio_bootstrap() -> anyhow::Result<PathBuf> {
    let istio = module_folder("istio", "istio.io/istio")?;
    Ok(istio.join("tools/packaging/common/envoy_bootstrap.json"))
}

/// libfaketime, which sets the wall clock of one program.
///
/// # Errors
/// If it is not installed and cannot be downloaded, with what to install.
pub fn faketime() -> anyhow::Result<PathBuf> {
    let library =
        format!("usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH);
    debian("libfaketime", &library)
}

/// The program of an OCI registry.
///
/// # Errors
/// If it is not installed and cannot be downloaded, with what to install.
pub fn registry() -> anyhow::Result<PathBuf> {
    debian("docker-registry", "usr/bin/docker-registry")
}

/// The program of Prometheus.
///
/// # Errors
/// If it is not installed and cannot be downloaded, with what to install.
pub fn prometheus() -> anyhow::Result<PathBuf> {
    debian("prometheus", "usr/bin/prometheus")
}

/// A file of a Debian package: the installed one, or else the one in the package that this unpacks
/// into the cache.
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
        // A new machine has no package lists yet.
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
        // Under another name first: so an interrupted build leaves nothing that looks complete.
        let unfinished = target.with_extension(std::process::id().to_string());
        run(go(&folder)
            .args(["build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o"])
            .arg(&unfinished)
            .arg(package))?;
        fs::rename(unfinished, &target)?;
    }
    Ok(target)
}

/// Downloads a module; returns its folder in Go's module cache.
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
