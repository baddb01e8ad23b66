//! The module is reproducible: built in another folder, with another home of cargo, it has the same
//! bytes. So anybody who has the compiler of a release (`RUST_VERSION` in the release workflow) can check
//! that its module is built from the sources of its version.

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::{Context as _, ensure};

use super::lint::tracked_files;
use crate::{
    module::{self, TARGET, Toolchain, cargo_home, module_of, run},
    workspace,
};

/// Builds the module a second time, and compares both.
pub(super) fn check() -> anyhow::Result<()> {
    let first = fs::read(module::build()?)?;
    let folder = tempfile::tempdir()?;
    let (sources, home) = (folder.path().join("sources"), folder.path().join("cargo"));
    copy_sources(&sources)?;
    // The same downloads under another name.
    fs::create_dir_all(&home)?;
    symlink(cargo_home()?.join("registry"), home.join("registry"))?;
    let mut cargo = Toolchain::find()?.cargo("build", "std,panic_abort");
    cargo.current_dir(&sources).env("CARGO_HOME", &home).env_remove("CARGO_TARGET_DIR");
    // The last one counts.
    cargo.arg("--target-dir").arg(sources.join("target"));
    run(&mut module_of(cargo, "skycap-filter", &home))?;
    let built = sources.join("target").join(TARGET).join("module/skycap_filter.wasm");
    let second = fs::read(&built).with_context(|| format!("no module in `{}`", built.display()))?;
    let differ = first.iter().zip(&second).position(|(one, other)| one != other);
    ensure!(
        first == second,
        "two builds of the module differ: {} and {} bytes, and from byte {differ:?} on",
        first.len(),
        second.len(),
    );
    Ok(())
}

fn copy_sources(to: &Path) -> anyhow::Result<()> {
    let root = workspace::root();
    for file in tracked_files(&root)? {
        let copy = to.join(&file);
        fs::create_dir_all(copy.parent().context("a file has no folder")?)?;
        fs::copy(root.join(&file), copy).with_context(|| format!("cannot copy `{file}`"))?;
    }
    Ok(())
}
