//! Where things lie: the checkout, its target folder, and the cache outside both.

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

/// The folder for what is slow to build and the same for every checkout: `SKYCAP_CACHE`, else
/// `skycap` in the user's cache folder. What lies in it is named by version and never changed.
///
/// # Errors
/// When no home folder is known.
pub fn cache() -> anyhow::Result<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    variable("SKYCAP_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("skycap")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/skycap")))
        .context("no folder for the cache: set SKYCAP_CACHE to one")
}
