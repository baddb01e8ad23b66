//! A module on trial: the metrics of its sidecars are read until there is a verdict. A ConfigMap
//! records the trial, and the controller acts on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{Api, Client, ResourceExt as _, api::ListParams};

use super::verdict::{Trial, Verdict};
use crate::{
    names::{NAMESPACE, ROLLOUT, VOTE_LABEL},
    observed::{api::create_params, sidecars::Sidecars},
    table::rollout::Rollout,
};

/// The end of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusion {
    /// Whether the module is promoted; otherwise, it is backed out.
    pub promote: bool,
    /// Why, for users.
    pub reason: String,
}

/// Watches a canary until there is a decision; `None` if another user has ended the trial. Calls
/// `say` with the progress.
///
/// # Errors
/// If the record of the rollout or the metrics of sidecars cannot be read.
pub async fn watch(
    client: &Client,
    selector: &BTreeMap<String, String>,
    plugin: &str,
    mut trial: Trial,
    say: impl Fn(&str),
) -> anyhow::Result<Option<Conclusion>> {
    let start = Instant::now();
    loop {
        tokio::time::sleep(INTERVAL).await;
        if read(client).await?.canary_at(Timestamp::now()).is_none() {
            return Ok(None);
        }
        let (canary, others) = look(client, selector, plugin).await?;
        match trial.observe(start.elapsed(), &canary, &others) {
            Verdict::Wait(evidence, None) => say(&evidence.running()),
            Verdict::Wait(evidence, Some(left)) => {
                say(&format!("{evidence}; {} s left", left.as_secs()));
            }
            Verdict::Promote(evidence) => {
                return Ok(Some(Conclusion { promote: true, reason: evidence.to_string() }));
            }
            Verdict::BackOut(defect, evidence) => {
                let reason = format!("{defect}; {}", evidence.running());
                return Ok(Some(Conclusion { promote: false, reason }));
            }
        }
    }
}

/// The metrics of the canary's sidecars, and those of a sample of the others.
///
/// # Errors
/// Those of [`Sidecars::read`].
pub async fn look(
    client: &Client,
    selector: &BTreeMap<String, String>,
    plugin: &str,
) -> anyhow::Result<(Sidecars, Sidecars)> {
    let mut canary = Sidecars::read(client, None, selector, plugin, usize::MAX).await?;
    let mut others = Sidecars::read(client, None, &BTreeMap::new(), plugin, SAMPLE).await?;
    let silent = namespaces_without_a_vote(client).await?;
    let has_vote = |pod: &String| !pod.split('/').next().is_some_and(|name| silent.contains(name));
    canary.reports.retain(|pod, _| has_vote(pod));
    others.reports.retain(|pod, _| has_vote(pod) && !canary.reports.contains_key(pod));
    Ok((canary, others))
}

/// Whoever may create Pods in a namespace can make them report anything. So the platform team can take
/// the vote from namespaces of others.
async fn namespaces_without_a_vote(client: &Client) -> anyhow::Result<BTreeSet<String>> {
    let params = ListParams::default().labels(&format!("{VOTE_LABEL}=false"));
    let namespaces = Api::<Namespace>::all(client.clone()).list_metadata(&params).await;
    let namespaces = namespaces.context("cannot list the namespaces that have no vote")?;
    Ok(namespaces.into_iter().map(|namespace| namespace.name_any()).collect())
}

/// The record of the rollout; empty if there is none.
///
/// # Errors
/// The API server's error, or the problem of a malformed record.
pub async fn read(client: &Client) -> anyhow::Result<Rollout> {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let map = maps.get_opt(ROLLOUT).await.context("cannot read the record of the rollout")?;
    let rollout = map.map(|map| Rollout::parse(&map, None)).transpose();
    rollout.map(Option::unwrap_or_default).map_err(|problem| anyhow::anyhow!("{problem}"))
}

/// Writes the record of the rollout. It replaces the whole ConfigMap, because a server-side apply
/// would keep keys that other field managers added, and these would make the record malformed.
///
/// # Errors
/// The API server's error.
pub async fn write(client: &Client, rollout: &Rollout) -> anyhow::Result<()> {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let mut map: ConfigMap = serde_json::from_value(rollout.manifest())?;
    let params = create_params();
    let live = maps.get_opt(ROLLOUT).await.context("cannot read the record of the rollout")?;
    let written = match live {
        Some(live) => {
            map.metadata.resource_version = live.metadata.resource_version;
            maps.replace(ROLLOUT, &params, &map).await
        }
        None => maps.create(&params, &map).await,
    };
    written.map(drop).context("cannot write the record of the rollout")
}

/// How often the metrics are read.
const INTERVAL: Duration = Duration::from_secs(2);
/// How many other sidecars are read at most; more would not change the comparison.
const SAMPLE: usize = 50;
