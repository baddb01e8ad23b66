//! A module on trial: what its sidecars report is read until there is a verdict, and the record of it
//! is the ConfigMap that the controller carries out.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, api::PostParams};

use super::verdict::{Trial, Verdict};
use crate::{
    names::{MANAGER, NAMESPACE, ROLLOUT},
    observed::sidecars::Sidecars,
    table::rollout::Rollout,
};

/// Looks until there is a verdict; gives whether the module is good, and what was seen. `None` where
/// somebody else has decided.
pub async fn watch(
    client: &Client,
    selector: &BTreeMap<String, String>,
    plugin: &str,
    mut trial: Trial,
    say: impl Fn(&str),
) -> anyhow::Result<Option<(bool, String)>> {
    let begun = Instant::now();
    loop {
        tokio::time::sleep(INTERVAL).await;
        if read(client).await?.canary_at(Timestamp::now()).is_none() {
            return Ok(None);
        }
        let (now, others) = look(client, selector, plugin).await?;
        match trial.observe(begun.elapsed(), &now, &others) {
            Verdict::Wait(seen) => say(&seen),
            Verdict::Promote(seen) => return Ok(Some((true, seen))),
            Verdict::BackOut(why) => return Ok(Some((false, why))),
        }
    }
}

/// What the canary's sidecars report, and what some of the others do.
pub async fn look(
    client: &Client,
    selector: &BTreeMap<String, String>,
    plugin: &str,
) -> anyhow::Result<(Sidecars, Sidecars)> {
    let canary = Sidecars::read(client, selector, plugin, usize::MAX).await?;
    let mut others = Sidecars::read(client, &BTreeMap::new(), plugin, SAMPLE).await?;
    others.reports.retain(|pod, _| !canary.reports.contains_key(pod));
    Ok((canary, others))
}

/// Which module serves whom, as it is written in the cluster.
pub async fn read(client: &Client) -> anyhow::Result<Rollout> {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let map = maps.get_opt(ROLLOUT).await.context("cannot read the rollout")?;
    let state = map.map(|map| Rollout::parse(&map, None)).transpose();
    state.map(Option::unwrap_or_default).map_err(|problem| anyhow::anyhow!("{problem}"))
}

/// Writes it as a whole: what another has put into it must go too, which a server-side apply leaves.
pub async fn write(client: &Client, state: &Rollout) -> anyhow::Result<()> {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let mut map: ConfigMap = serde_json::from_value(state.manifest())?;
    let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    let written = match maps.get_opt(ROLLOUT).await.context("cannot read the rollout")? {
        Some(live) => {
            map.metadata.resource_version = live.metadata.resource_version;
            maps.replace(ROLLOUT, &params, &map).await
        }
        None => maps.create(&params, &map).await,
    };
    written.map(drop).context("cannot write the rollout")
}

/// How often the sidecars are asked.
const INTERVAL: Duration = Duration::from_secs(2);
/// So many of the other sidecars say enough of all.
const SAMPLE: usize = 50;
