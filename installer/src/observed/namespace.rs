//! The baseline of a namespace, read from the cluster.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::ListParams,
    core::{DynamicObject, TypeMeta},
};

use crate::{
    environment::{
        baseline::{Baseline, OPTIONAL, REQUIRED},
        labels::SANDBOX_LABEL,
        spec::SandboxSpec,
    },
    objects::{ObjectRef, resource},
};

/// What a namespace has, and the kinds of policies that the user may not list.
///
/// Other sandboxes are not read: they may be hundreds, and what they own selects only what has their
/// label. Where a name could be theirs, [`add_existing`] asks for it.
///
/// # Errors
/// The API server's error, and a missing permission to list what could select a fork.
pub async fn read_baseline(
    client: &Client,
    namespace: &str,
    spec: &SandboxSpec,
) -> anyhow::Result<(Baseline, Vec<&'static str>)> {
    let of_baseline = ListParams::default().labels(&format!("!{SANDBOX_LABEL}"));
    let of_sandbox = ListParams::default().labels(&format!("{SANDBOX_LABEL}={}", spec.name));
    let required = REQUIRED.iter().map(|kind| (kind, true, &of_baseline));
    let optional = OPTIONAL.iter().map(|kind| (kind, false, &of_baseline));
    let own = OWN.iter().map(|kind| (kind, true, &of_sandbox));
    let kinds = required.chain(optional).chain(own);
    let lists = try_join_all(kinds.map(async |((api_version, kind), is_required, params)| {
        let found = list(client, namespace, api_version, kind, params).await?;
        anyhow::Ok((found, *kind, is_required))
    }));
    let mut baseline = Baseline::default();
    let (mut needed, mut unread) = (BTreeSet::new(), Vec::new());
    for (list, kind, is_required) in lists.await? {
        match list {
            Listed::Objects(objects) => objects.into_iter().for_each(|object| baseline.add(object)),
            Listed::Forbidden if is_required => drop(needed.insert(plural(kind))),
            Listed::Forbidden => unread.push(kind),
        }
    }
    ensure!(
        needed.is_empty(),
        "missing permissions to list {} in namespace {namespace}; nothing was changed; ask an \
         administrator for the role that `skycap render --role sandboxes -n {namespace}` writes",
        needed.into_iter().collect::<Vec<_>>().join(", ")
    );
    // What is not there may be a fork, which cannot be forked.
    let workloads = spec.forks.keys().map(|workload| workload.reference(namespace)).collect();
    add_existing(client, &mut baseline, workloads).await?;
    Ok((baseline, unread))
}

/// What is wrong with the namespace itself; `None` if nothing is, or if the user may not read it.
pub async fn defect_of(client: &Client, namespace: &str) -> Option<String> {
    match Api::<Namespace>::all(client.clone()).get_opt(namespace).await {
        Ok(None) => Some(format!("namespace `{namespace}` not found; check -n and the context")),
        Ok(Some(found)) if found.metadata.deletion_timestamp.is_some() => Some(format!(
            "namespace `{namespace}` is being deleted; wait until it is gone, or use another one"
        )),
        _ => None,
    }
}

/// Adds those of the Services and workloads that the baseline does not have yet, whoever owns them.
///
/// # Errors
/// The API server's error.
pub async fn add_existing(
    client: &Client,
    baseline: &mut Baseline,
    mut references: Vec<ObjectRef>,
) -> anyhow::Result<()> {
    references.retain(|reference| !baseline.has(reference));
    let reads = stream::iter(references).map(|reference| async move {
        // By a list, for which the user has permissions.
        let params = ListParams::default().fields(&format!("metadata.name={}", reference.name));
        let ObjectRef { api_version, kind, namespace, .. } = &reference;
        list(client, namespace.as_deref().unwrap_or_default(), api_version, kind, &params).await
    });
    for found in reads.buffered(AT_ONCE).try_collect::<Vec<_>>().await? {
        if let Listed::Objects(objects) = found {
            objects.into_iter().for_each(|object| baseline.add(object));
        }
    }
    Ok(())
}

/// What the API server has of a kind.
enum Listed {
    /// The objects; none if it does not serve the kind.
    Objects(Vec<DynamicObject>),
    Forbidden,
}

/// As Kubernetes calls several of a kind: `NetworkPolicies`.
pub fn plural(kind: &str) -> String {
    kind.strip_suffix('y').map_or_else(|| format!("{kind}s"), |stem| format!("{stem}ies"))
}

async fn list(
    client: &Client,
    namespace: &str,
    api_version: &str,
    kind: &str,
    params: &ListParams,
) -> anyhow::Result<Listed> {
    let resource = resource(api_version, kind);
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
    let mut objects = match api.list(params).await {
        Ok(list) => list.items,
        Err(kube::Error::Api(status)) if status.is_forbidden() => return Ok(Listed::Forbidden),
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        Err(error) => {
            let context = || format!("cannot list {} in namespace {namespace}", plural(kind));
            return Err(error).with_context(context);
        }
    };
    for object in &mut objects {
        // Items of a list do not say what they are.
        object.types = Some(TypeMeta { api_version: api_version.into(), kind: kind.into() });
    }
    Ok(Listed::Objects(objects))
}

/// The kinds of a sandbox's own objects.
const OWN: [(&str, &str); 3] =
    [("v1", "Service"), ("apps/v1", "Deployment"), ("apps/v1", "StatefulSet")];
/// How many objects to ask for at once.
const AT_ONCE: usize = 16;
