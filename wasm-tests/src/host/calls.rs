//! The host calls of ABI 0.2.1 that skycap imports. A module that imports another one does not link.

mod data;
mod headers;
mod metrics;
mod runtime;

use wasmi::{Error, Linker};

use super::{
    memory::{Host, OK},
    vm_state::VmState,
};

/// Defines every host call in `linker`.
pub(super) fn define(linker: &mut Linker<VmState>) -> Result<(), Error> {
    headers::define(linker)?;
    metrics::define(linker)?;
    data::define(linker)?;
    runtime::define(linker)
}

/// Counts a call, and returns its status: the one that a test has set, or the result of `work`.
fn call(
    host: &mut Host<'_>,
    name: &'static str,
    work: impl FnOnce(&mut Host<'_>) -> Result<(), u32>,
) -> u32 {
    *host.data_mut().calls.entry(name).or_default() += 1;
    match host.data().fault {
        Some((faulty, status)) if faulty == name && status != OK => status,
        _ => work(host).err().unwrap_or(OK),
    }
}

/// The module from which host calls are imported.
const ENV: &str = "env";
const WASI: &str = "wasi_snapshot_preview1";
