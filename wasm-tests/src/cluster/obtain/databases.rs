//! Database engines from Debian's packages, unpacked into the cache.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use crate::{module::run, workspace};

/// The programs of the engines: never the installed ones, so that all are of one release of the
/// distribution.
#[derive(Debug, Clone)]
pub struct Databases {
    root: PathBuf,
    /// The version of Postgres, such as `15`.
    pub postgres: String,
}

impl Databases {
    /// A file or folder, by its path below the root of a Debian system.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// A program of Postgres.
    #[must_use]
    pub fn of_postgres(&self, program: &str) -> PathBuf {
        self.file(&format!("usr/lib/postgresql/{}/bin/{program}", self.postgres))
    }

    /// The folder of the libraries.
    #[must_use]
    pub fn libraries(&self) -> PathBuf {
        self.file(&format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH))
    }
}

/// Downloads the engines once.
///
/// # Errors
/// If a package cannot be downloaded, with what to install.
pub fn databases() -> anyhow::Result<Databases> {
    let root = workspace::cache()?.join("databases");
    let complete = root.join("complete");
    if !complete.is_file() {
        download(&root).context(
            "cannot get the database engines; `apt-get update`, and try again as root on Debian",
        )?;
        fs::write(complete, "")?;
    }
    let versions = fs::read_dir(root.join("usr/lib/postgresql"))?.flatten();
    let versions = versions.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let postgres = versions.max().context("no version of Postgres")?;
    Ok(Databases { root, postgres })
}

fn download(root: &Path) -> anyhow::Result<()> {
    let archives = tempfile::tempdir()?;
    fs::create_dir(archives.path().join("partial"))?;
    // The package without a version depends on the one with it.
    let output = Command::new("apt-cache").args(["depends", "postgresql"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let version = text.lines().find_map(|line| line.trim().strip_prefix("Depends: postgresql-"));
    let version = version.context("`apt-cache` does not know `postgresql`")?;
    let postgres = [format!("postgresql-{version}"), format!("postgresql-client-{version}")];
    let folder = format!("Dir::Cache::archives={}", archives.path().display());
    // With the libraries that this machine does not have; those that it has, are found there.
    run(Command::new("apt-get")
        .args(["install", "--download-only", "--reinstall", "--yes", "--no-install-recommends"])
        .args(["-qq", "-o", &folder])
        .args(&postgres)
        .args(PACKAGES))?;
    fs::create_dir_all(root)?;
    for archive in fs::read_dir(archives.path())? {
        let archive = archive?.path();
        if archive.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg").arg("-x").arg(archive).arg(root))?;
        }
    }
    Ok(())
}

const PACKAGES: [&str; 7] = [
    "busybox-static",
    "libpq5",
    "mariadb-client-core",
    "mariadb-server-core",
    "redis-server",
    "redis-tools",
    "sqlite3",
];
