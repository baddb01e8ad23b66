//! The baseline of a namespace, read from the cluster.

mod served;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::ListParams,
    core::{DynamicObject, TypeMeta},
};

use self::served::Served;
use crate::{
    environment::{
        baseline::{Baseline, IN_ROOT, OPTIONAL, REQUIRED},
        labels::SANDBOX_LABEL,
        spec::SandboxSpec,
    },
    objects::{ObjectRef, resource},
    observed::api::api,
};

/// What a namespace has, with Istio's root namespace `root`; and notes on what the user may not list.
///
/// Other sandboxes are not read: they may be hundreds, and what they own selects only what has their
/// label. Where a name could be theirs, [`add_existing`] asks for it.
///
/// # Errors
/// The API server's error, and a missing permission to list what could select a fork.
pub async fn read_baseline(
    client: &Client,
    namespace: &str,
    root: &str,
    spec: &SandboxSpec,
) -> anyhow::Result<(Baseline, Vec<String>)> {
    let of_baseline = ListParams::default().labels(&format!("!{SANDBOX_LABEL}"));
    let required = REQUIRED.iter().map(|kind| (kind, namespace, true));
    let served = Served::read(client).await;
    let in_root: &[_] = if root == namespace { &[] } else { &IN_ROOT };
    let optional = OPTIONAL.iter().map(|kind| (kind, namespace, false));
    let optional = optional.chain(in_root.iter().map(|kind| (kind, root, false)));
    let optional = optional.filter(|((api_version, _), ..)| served.has(api_version));
    let lists = try_join_all(required.chain(optional).map(
        async |((api_version, kind), place, is_required)| {
            let version = served.version(api_version);
            let found = list(client, place, &version, kind, &of_baseline).await?;
            anyhow::Ok((found, *kind, place, is_required))
        },
    ));
    let mut baseline = Baseline::default();
    let (mut needed, mut unread) = (BTreeSet::new(), BTreeMap::<_, Vec<_>>::new());
    for (list, kind, place, is_required) in lists.await? {
        match list {
            Listed::Objects(objects) if place == namespace => {
                objects.into_iter().for_each(|object| baseline.add(object));
            }
            Listed::Objects(objects) => objects.iter().for_each(|one| baseline.add_of_root(one)),
            Listed::Forbidden if is_required => drop(needed.insert(plural(kind))),
            Listed::Forbidden => unread.entry(place).or_default().push(plural(kind)),
        }
    }
    ensure!(
        needed.is_empty(),
        "missing permissions to list {} in namespace {namespace}; nothing was changed; ask an \
         administrator for the role that `skycap render --role sandboxes -n {namespace}` writes",
        needed.into_iter().collect::<Vec<_>>().join(", ")
    );
    for object in read_own(client, namespace, &spec.name).await? {
        baseline.add(object);
    }
    // What is not there may be a fork, which cannot be forked.
    let workloads = spec.forks.keys().map(|workload| workload.reference(namespace)).collect();
    add_existing(client, &mut baseline, workloads).await?;
    let named = spec.queues.iter().chain(&spec.resources);
    for map in read_config_maps(client, namespace, named).await? {
        baseline.add(map);
    }
    let notes = unread.into_iter().map(|(place, kinds)| unread_note(place, &kinds));
    Ok((baseline, notes.collect()))
}

fn unread_note(place: &str, kinds: &[String]) -> String {
    let kinds = kinds.join(", ");
    format!(
        "you may not list {kinds} in namespace {place}, so nobody knows which of them are about the forks"
    )
}

/// These ConfigMaps, as far as they are there: by name, because those of the namespace may be
/// confidential.
async fn read_config_maps(
    client: &Client,
    namespace: &str,
    names: impl Iterator<Item = &String>,
) -> anyhow::Result<Vec<DynamicObject>> {
    let reads = names.map(async |name| {
        let reference = ObjectRef::config_map(namespace, name);
        let found = api(client, &reference).get_opt(name).await;
        found.with_context(|| format!("cannot read {reference}"))
    });
    Ok(try_join_all(reads).await?.into_iter().flatten().collect())
}

/// A sandbox's own objects.
///
/// # Errors
/// The API server's error.
pub async fn read_own(
    client: &Client,
    namespace: &str,
    sandbox: &str,
) -> anyhow::Result<Vec<DynamicObject>> {
    let params = ListParams::default().labels(&format!("{SANDBOX_LABEL}={sandbox}"));
    let lists =
        OWN.iter().map(|(api_version, kind)| list(client, namespace, api_version, kind, &params));
    let mut own = Vec::new();
    for ((_, kind), list) in OWN.iter().zip(try_join_all(lists).await?) {
        match list {
            Listed::Objects(objects) => own.extend(objects),
            Listed::Forbidden => anyhow::bail!("you may no longer list {}", plural(kind)),
        }
    }
    Ok(own)
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

/// Adds those of the objects that the baseline does not have yet, whoever owns them.
///
/// # Errors
/// The API server's error, and a missing permission to read an object of a resource.
pub async fn add_existing(
    client: &Client,
    baseline: &mut Baseline,
    mut references: Vec<ObjectRef>,
) -> anyhow::Result<()> {
    references.retain(|reference| !baseline.has(reference));
    let reads = stream::iter(references).map(|reference| async move {
        let found = read_named(client, &reference).await?;
        anyhow::Ok((found, reference))
    });
    for (found, reference) in reads.buffered(AT_ONCE).try_collect::<Vec<_>>().await? {
        match found {
            Listed::Objects(objects) => {
                objects.into_iter().for_each(|object| baseline.add_named(object));
            }
            // Of the kinds of forks, all have been listed.
            Listed::Forbidden if OWN.iter().any(|(_, kind)| *kind == reference.kind) => {}
            Listed::Forbidden => anyhow::bail!(
                "missing permissions to list {}: nobody knows whether {reference} exists; nothing was \
                 changed; ask an administrator for them",
                plural(&reference.kind)
            ),
        }
    }
    Ok(())
}

/// Reads one object: a ConfigMap by its name, and others by a list, for which the user has permissions.
async fn read_named(client: &Client, reference: &ObjectRef) -> anyhow::Result<Listed> {
    let ObjectRef { api_version, kind, namespace, name } = reference;
    if kind == "ConfigMap" {
        let found = api(client, reference).get_opt(name).await;
        let found = found.with_context(|| format!("cannot read {reference}"))?;
        return Ok(Listed::Objects(found.into_iter().collect()));
    }
    let params = ListParams::default().fields(&format!("metadata.name={name}"));
    list(client, namespace.as_deref().unwrap_or_default(), api_version, kind, &params).await
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
