//! What `down` does first with a sandbox that has queues.
//!
//! With the ConfigMap goes everything that says what becomes of the sandbox's messages, and with the forks
//! whoever would read them. So the rule ends before, and `--requeue` is said while somebody can hear it.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use kube::{Client, api::Patch, core::DynamicObject};
use serde_json::{Value, json};

use crate::{
    commands::up::Patience,
    objects::ObjectRef,
    observed::{
        api::{api, merge_params},
        published::read_published,
    },
    table::report::{FragmentState, Report},
};

/// Disables a sandbox with queues, and waits until the controller has told that to the splitters.
///
/// # Errors
/// The API server's error.
pub(super) async fn end(
    client: &Client,
    reference: &ObjectRef,
    live: &DynamicObject,
    requeue: bool,
    patience: &Patience<'_>,
) -> anyhow::Result<()> {
    let queues = live.data.pointer("/data/queues").and_then(Value::as_str).unwrap_or_default();
    if queues.trim().is_empty() {
        return Ok(());
    }
    let mut data = json!({"enabled": "false"});
    if requeue {
        data["unread"] = "requeue".into();
    }
    // Not another one that has the name by now.
    let patch = json!({"metadata": {"uid": live.metadata.uid}, "data": data});
    let params = merge_params();
    let maps = api(client, reference);
    let disable = async || match maps.patch(&reference.name, &params, &Patch::Merge(&patch)).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        result => result.map(drop).with_context(|| format!("cannot disable {reference}")),
    };
    patience.with(disable).await?;
    if !wait_until_told(client, reference).await {
        anstream::eprintln!(
            "note: nobody knows whether the controller has compiled that; if it has not, what the queue \
             says becomes of unread messages"
        );
    }
    Ok(())
}

/// Whether the controller has compiled the sandbox as disabled. It serves the rules before it publishes its
/// report, and a splitter waits for them.
async fn wait_until_told(client: &Client, reference: &ObjectRef) -> bool {
    let deadline = Instant::now() + TOLD;
    while Instant::now() < deadline {
        match read_published(client).await {
            Ok((_, report)) if is_off(&report, reference) => return true,
            Ok(_) => tokio::time::sleep(PAUSE).await,
            // Such as a missing permission.
            Err(_) => return false,
        }
    }
    false
}

fn is_off(report: &Report, reference: &ObjectRef) -> bool {
    let is_own = |namespace: &str, name: &str| {
        reference.namespace.as_deref() == Some(namespace) && reference.name == name
    };
    let mut fragments = report.fragments.iter();
    let listed = fragments.find(|listed| is_own(&listed.namespace, &listed.name));
    listed.is_some_and(|listed| listed.state != FragmentState::Active)
}

/// How long to wait for the controller: a round takes less than a second, and the report follows it.
const TOLD: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);
