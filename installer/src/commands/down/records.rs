//! The records of the resources that a sandbox has: each stays until the Job of its `delete` has
//! succeeded.

use std::collections::BTreeSet;

use anyhow::Context as _;
use kube::{
    Client, ResourceExt,
    api::{ListParams, Patch},
    core::DynamicObject,
};
use serde_json::json;

use crate::{
    environment::{labels::SANDBOX_LABEL, plan::former, resource::record::FINALIZER},
    names::RESOURCE_LABEL,
    objects::ObjectRef,
    observed::{
        api::{api, merge_params},
        preflight::rights::may_list_config_maps,
    },
};

/// The names of a sandbox's records. If its ConfigMap is gone already, they are looked for by their
/// labels, and whoever may not list ConfigMaps finds none. With `force`, nothing keeps them any more.
pub(super) async fn of(
    client: &Client,
    namespace: &str,
    sandbox: &str,
    live: Option<&DynamicObject>,
    force: bool,
) -> anyhow::Result<BTreeSet<String>> {
    let records = find(client, namespace, sandbox, live).await?;
    if force {
        release(client, namespace, &records).await?;
    }
    Ok(records)
}

async fn find(
    client: &Client,
    namespace: &str,
    sandbox: &str,
    live: Option<&DynamicObject>,
) -> anyhow::Result<BTreeSet<String>> {
    if live.is_some() {
        return Ok(former(live));
    }
    if !may_list_config_maps(client, namespace).await? {
        return Ok(BTreeSet::new());
    }
    let labels = format!("{RESOURCE_LABEL},{SANDBOX_LABEL}={sandbox}");
    let maps = api(client, &ObjectRef::config_map(namespace, sandbox));
    let found = maps.list(&ListParams::default().labels(&labels)).await;
    let found = found.with_context(|| format!("cannot list ConfigMaps in {namespace}"))?;
    let is_record =
        |map: &&DynamicObject| map.labels().get(RESOURCE_LABEL) == Some(&map.name_any());
    Ok(found.items.iter().filter(is_record).map(ResourceExt::name_any).collect())
}

/// Takes skycap's finalizer off each of them.
async fn release(
    client: &Client,
    namespace: &str,
    records: &BTreeSet<String>,
) -> anyhow::Result<()> {
    for name in records {
        let reference = ObjectRef::config_map(namespace, name);
        let maps = api(client, &reference);
        let found = maps.get_opt(name).await;
        let found = found.with_context(|| format!("cannot read {reference}"))?;
        let Some(record) =
            found.filter(|record| record.finalizers().contains(&FINALIZER.to_owned()))
        else {
            continue;
        };
        let kept: Vec<_> = record.finalizers().iter().filter(|name| *name != FINALIZER).collect();
        let patch = Patch::Merge(json!({"metadata": {"finalizers": kept}}));
        let params = merge_params();
        match maps.patch(name, &params, &patch).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            result => drop(result.with_context(|| format!("cannot change {reference}"))?),
        }
    }
    Ok(())
}

/// Those that are still there.
pub(super) async fn remaining(
    client: &Client,
    namespace: &str,
    records: &BTreeSet<String>,
) -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    for name in records {
        let reference = ObjectRef::config_map(namespace, name);
        let found = api(client, &reference).get_opt(name).await;
        let found = found.with_context(|| format!("cannot read {reference}"))?;
        left.extend(found.map(|_| format!("{KIND}{name}")));
    }
    Ok(left)
}

/// What to do about what is left.
pub(super) fn advice(namespace: &str, sandbox: &str, left: &[String]) -> String {
    match left.iter().find(|name| name.starts_with(KIND)) {
        Some(record) => format!(
            "the Job of its resource has not succeeded: see `kubectl -n {namespace} describe {record}`, \
             or end it without the Job: `skycap down {sandbox} -n {namespace} --force`"
        ),
        None => format!(
            "look for a finalizer with `kubectl -n {namespace} get {} -o yaml`",
            left.first().map_or("", String::as_str)
        ),
    }
}

const KIND: &str = "configmap/";
