//! What in the cluster conflicts with an installation: a canary, a promoted module, and objects of
//! others.

use jiff::Timestamp;
use kube::{Client, core::DynamicObject};

use crate::{
    module::trial,
    objects::{is_foreign, reference_of},
    table::rollout::Rollout,
};

/// The rollout without its promoted module, if that is another one than `module`: the module that is
/// installed now replaces it. `None` if there is nothing to change.
///
/// # Errors
/// A canary is running, or the API server rejects the request.
pub(super) async fn replace_promoted(
    client: &Client,
    module: &str,
) -> anyhow::Result<Option<Rollout>> {
    let rollout = trial::read(client).await?;
    if let Some(canary) = rollout.canary_at(Timestamp::now()) {
        anyhow::bail!(
            "a canary of `{}` is running: end it first with `skycap rollout promote` or `skycap \
             rollout abort`",
            canary.module
        );
    }
    let Some(promoted) = rollout.module.as_deref().filter(|promoted| *promoted != module) else {
        return Ok(None);
    };
    anstream::eprintln!("{module} replaces {promoted}, which the last rollout promoted");
    Ok(Some(Rollout { module: None, ..rollout }))
}

/// Checks that skycap made the objects that have its names.
///
/// # Errors
/// Somebody else made one of them.
pub(super) fn reject_foreign(live: &[&DynamicObject]) -> anyhow::Result<()> {
    let foreign: Vec<_> = live
        .iter()
        .filter(|live| is_foreign(live))
        .map(|live| reference_of(live).to_string())
        .collect();
    anyhow::ensure!(
        foreign.is_empty(),
        "skycap did not make {}, and does not change objects of others; nothing was changed: rename \
         the object, or delete it if it is not needed",
        foreign.join(", ")
    );
    Ok(())
}
