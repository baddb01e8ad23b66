//! The folders: the checkout, cargo's target folder, and the cache outside both.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The folder of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member.parent().unwrap_or(member).to_owned()
}

/// Cargo's target folder.
#[must_use]
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The folder for programs that take long to build and are the same for every checkout:
/// `SKYCAP_CACHE`, or by default `skycap` in the user's cache folder. Its entries have versions in
/// their names, and never change.
///
/// # Errors
/// If none of `SKYCAP_CACHE`, `XDG_CACHE_HOME` and `HOME` is set.
pub fn cache() -> anyhow::Result<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    variable("SKYCAP_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("skycap")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/skycap")))
        .context("no cache folder: set `SKYCAP_CACHE` to a folder")
}
