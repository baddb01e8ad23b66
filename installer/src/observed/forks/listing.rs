//! The forks of all sandboxes, for `list`.

use std::collections::BTreeMap;

use anyhow::Context as _;
use kube::{Api, Client, api::ListParams, core::DynamicObject};
use serde::Serialize;

use super::is_available;
use crate::{
    environment::{
        fork::{BASELINE_LABEL, fingerprint, fork_label},
        labels::{FORK_LABEL, SANDBOX_LABEL},
        workload::{Workload, WorkloadKind},
    },
    objects::resource,
};

/// A fork that is in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedFork {
    /// Its namespace.
    pub namespace: String,
    /// The name of its sandbox.
    pub sandbox: String,
    /// Its own name.
    pub name: String,
    /// Whether its Pod is of its current template, and available.
    pub ready: bool,
    /// Whether its baseline has changed since, or is gone: `skycap up` repairs that.
    pub drifted: bool,
}

/// The forks of a namespace, or of all.
///
/// # Errors
/// The API server's error.
pub async fn list(client: &Client, namespace: Option<&str>) -> anyhow::Result<Vec<ListedFork>> {
    let mut workloads = Vec::new();
    for kind in WorkloadKind::ALL {
        let (api_version, name) = kind.names();
        let resource = resource(api_version, name);
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let objects = match api.list(&ListParams::default()).await {
            // Few clusters have Rollouts.
            Err(kube::Error::Api(status)) if status.code == 404 => continue,
            objects => objects.with_context(|| format!("cannot list {name}s"))?,
        };
        workloads.extend(objects.into_iter().map(|object| (kind, object)));
    }
    Ok(listed(&workloads))
}

fn listed(workloads: &[(WorkloadKind, DynamicObject)]) -> Vec<ListedFork> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let label = |object: &DynamicObject, name: &str| {
        object.metadata.labels.as_ref().and_then(|labels| labels.get(name)).cloned()
    };
    let baselines: BTreeMap<_, _> = workloads
        .iter()
        .filter(|(_, object)| label(object, SANDBOX_LABEL).is_none())
        .map(|(kind, object)| {
            let workload = Workload { kind: *kind, name: text(&object.metadata.name) };
            ((text(&object.metadata.namespace), fork_label(&workload)), object)
        })
        .collect();
    let forks = workloads.iter().filter_map(|(_, object)| {
        let namespace = text(&object.metadata.namespace);
        let baseline = (namespace.clone(), label(object, FORK_LABEL)?);
        let current = baselines.get(&baseline).map(|object| fingerprint(object));
        Some(ListedFork {
            sandbox: label(object, SANDBOX_LABEL)?,
            name: text(&object.metadata.name),
            ready: is_available(object),
            drifted: current != label(object, BASELINE_LABEL),
            namespace,
        })
    });
    forks.collect()
}
