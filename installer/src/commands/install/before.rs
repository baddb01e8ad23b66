//! What `install` settles before it writes: which module, and whose objects there are.

use jiff::Timestamp;
use kube::{Client, core::DynamicObject};

use crate::{
    module::trial,
    objects::{is_foreign, reference_of},
    table::rollout::Rollout,
};

/// The rollout without the module that it has promoted, where that is another than `module`, which is
/// what somebody wants now.
pub(super) async fn give_way(client: &Client, module: &str) -> anyhow::Result<Option<Rollout>> {
    let rollout = trial::read(client).await?;
    if let Some(canary) = rollout.canary_at(Timestamp::now()) {
        anyhow::bail!(
            "`{}` is on trial; end that first with `skycap rollout promote` or `abort`",
            canary.module
        );
    }
    let Some(promoted) = rollout.module.as_deref().filter(|promoted| *promoted != module) else {
        return Ok(None);
    };
    anstream::eprintln!("{promoted}, which the last rollout has promoted, gives way to {module}");
    Ok(Some(Rollout { module: None, ..rollout }))
}

/// Looks whose the objects are that have skycap's names.
///
/// # Errors
/// Where one is somebody else's.
pub(super) fn refuse_foreign(live: &[&DynamicObject]) -> anyhow::Result<()> {
    let foreign: Vec<_> = live
        .iter()
        .filter(|live| is_foreign(live))
        .map(|live| reference_of(live).to_string())
        .collect();
    anyhow::ensure!(
        foreign.is_empty(),
        "skycap did not make {}, and leaves it as it is; nothing is written: rename it, or delete it if \
         nobody needs it",
        foreign.join(", ")
    );
    Ok(())
}
