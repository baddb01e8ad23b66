//! Programs from Debian's packages: the installed ones, or else those of packages that are unpacked
//! into the cache, which needs no root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use crate::{module::run, workspace};

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

/// What a node runs containers with.
#[derive(Debug, Clone)]
pub struct NodePrograms {
    /// The folder of the unpacked packages.
    root: PathBuf,
}

impl NodePrograms {
    /// A program or library, by its path below the root of a Debian system.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The folder of the libraries.
    #[must_use]
    pub fn libraries(&self) -> PathBuf {
        self.root.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH))
    }
}

/// The names of iptables. They are links to one program, [`XTABLES`].
pub const IPTABLES: [&str; 6] = [
    "iptables",
    "iptables-save",
    "iptables-restore",
    "ip6tables",
    "ip6tables-save",
    "ip6tables-restore",
];
/// The program that is all of [`IPTABLES`], in `usr/sbin`.
pub const XTABLES: &str = "xtables-nft-multi";

/// containerd, runc, the CNI plugins and iptables: never the installed ones, so that all are of one
/// release of the distribution, and none is configured otherwise.
///
/// # Errors
/// If a package cannot be downloaded, with what to install.
pub fn node_programs() -> anyhow::Result<NodePrograms> {
    let root = workspace::cache()?.join("node");
    let complete = root.join("complete");
    if !complete.is_file() {
        fs::create_dir_all(&root)?;
        for package in NODE_PACKAGES {
            unpack(package, &root)?;
        }
        fs::write(complete, "")?;
    }
    Ok(NodePrograms { root })
}

/// With the libraries that a machine does not always have.
const NODE_PACKAGES: [&str; 11] = [
    "containerd",
    "runc",
    "containernetworking-plugins",
    "iptables",
    "libip4tc2",
    "libip6tc2",
    "libmnl0",
    "libnfnetlink0",
    "libnetfilter-conntrack3",
    "libnftnl11",
    "libxtables12",
];

/// A file of a Debian package: the installed one, or else the one in the package that this unpacks
/// into the cache.
fn debian(package: &str, file: &str) -> anyhow::Result<PathBuf> {
    let unpacked = workspace::cache()?.join(package);
    let places = [Path::new("/").join(file), unpacked.join(file)];
    if let Some(place) = places.iter().find(|place| place.is_file()) {
        return Ok(place.clone());
    }
    unpack(package, &unpacked)?;
    Ok(unpacked.join(file))
}

/// Downloads a package and unpacks it into `folder`.
fn unpack(package: &str, folder: &Path) -> anyhow::Result<()> {
    let wanted =
        || format!("cannot get {package}; install it (on Debian `apt-get install {package}`)");
    let archives = tempfile::tempdir()?;
    let mut download = Command::new("apt-get");
    download.current_dir(archives.path()).args(["download", package]);
    if run(&mut download).is_err() {
        // A new machine has no package lists yet.
        run(Command::new("apt-get").arg("update")).with_context(wanted)?;
        run(&mut download).with_context(wanted)?;
    }
    let archive = fs::read_dir(archives.path())?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(wanted)?;
    extract(&archive, folder).with_context(wanted)
}

/// Unpacks the file of a package into `folder`.
pub(super) fn extract(archive: &Path, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    run(Command::new("dpkg").arg("-x").arg(archive).arg(folder))
}
