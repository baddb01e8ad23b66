//! The case table: requests and their expected results, as YAML that is easy to read.
//!
//! Every case runs three ways: through the core natively, through the built module, and through
//! the HTTPRoutes of the same table.
//!
//! Each file of `cases/` is one scenario:
//! ```yaml
//! about: a sandbox replaces one Service
//! configMaps: |                  # manifests, as for kubectl; several documents are allowed
//!   …
//! now: 2026-11-23T12:00:00Z      # optional: the time of the compile
//! requests:
//! - about: the key
//!   to: cart.shop:80             # the Service and port that are called
//!   headers: ["baggage: sandbox=pr-1"]
//!   expect: cart-pr-1.shop:80    # a target, `baseline` or `503`
//!   reason: routed               # the label of the outcome
//! ```
//! - In a header, `\xNN` is one byte.
//! - `cluster` and `virtualHost` set what Envoy picked, if it is not what `to` implies.
//! - `baseline` means that the request does not change, except that a dispatch header from the
//!   client is removed. `expectHeaders` lists further lines that the request must have.
//! - `expectRemoved` lists headers that the request must not have any more.
//! - `gateway` and `proxyLabels`, beside `requests`, say which proxy decides.
//! - `httpRouteModel` sets what a mesh does with the HTTPRoutes, if it differs, and why.

mod http_route_model;
mod module;
mod native;
mod scenario;

use std::{fs, path::Path};

use anyhow::Context as _;

pub use self::scenario::Scenario;
use crate::workspace;

/// All scenarios of `cases/`, with the names of their files, in the order of the names.
///
/// # Errors
/// If a file cannot be read or parsed, with its name.
pub fn all() -> anyhow::Result<Vec<(String, Scenario)>> {
    let folder = workspace::root().join("wasm-tests/cases");
    let entries = fs::read_dir(&folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = entries.collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    paths.iter().map(|path| Ok((file_name(path), read(path)?))).collect()
}

fn read(path: &Path) -> anyhow::Result<Scenario> {
    let text = fs::read_to_string(path)?;
    serde_saphyr::from_str(&text).with_context(|| format!("cannot read `{}`", path.display()))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
