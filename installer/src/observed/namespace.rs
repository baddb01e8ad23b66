//! The baseline of a namespace, read from the cluster.

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use kube::{
    Api, Client,
    api::ListParams,
    core::{DynamicObject, TypeMeta},
};

use crate::{
    environment::baseline::{Baseline, OPTIONAL, REQUIRED},
    objects::resource,
};

/// What a namespace has, and the kinds of policies that the user may not list.
///
/// # Errors
/// The API server's error, and a missing permission to list what could select a fork.
pub async fn read_baseline(
    client: &Client,
    namespace: &str,
) -> anyhow::Result<(Baseline, Vec<&'static str>)> {
    let required = REQUIRED.iter().map(|kind| (kind, true));
    let kinds = required.chain(OPTIONAL.iter().map(|kind| (kind, false)));
    let lists = try_join_all(kinds.map(|((api_version, kind), is_required)| async move {
        match list(client, namespace, api_version, kind).await {
            Ok(objects) => Ok((objects, None)),
            Err(kube::Error::Api(status)) if status.is_forbidden() => {
                Ok((Vec::new(), Some((*kind, is_required))))
            }
            Err(kube::Error::Api(status)) if !is_required && status.code == 404 => {
                Ok((Vec::new(), None))
            }
            Err(error) => {
                let context = || format!("cannot list {kind}s in namespace {namespace}");
                Err(error).with_context(context)
            }
        }
    }));
    let mut objects = Vec::new();
    let mut forbidden = Vec::new();
    for (list, kind) in lists.await? {
        objects.extend(list);
        forbidden.extend(kind);
    }
    let needed = forbidden.iter().filter(|(_, is_required)| *is_required);
    let needed: Vec<_> = needed.map(|(kind, _)| format!("{kind}s")).collect();
    ensure!(
        needed.is_empty(),
        "missing permissions to list {} in namespace {namespace}; nothing was changed; ask an \
         administrator for the role that `skycap render --role sandboxes -n {namespace}` writes",
        needed.join(", ")
    );
    Ok((Baseline::new(objects), forbidden.into_iter().map(|(kind, _)| kind).collect()))
}

async fn list(
    client: &Client,
    namespace: &str,
    api_version: &str,
    kind: &str,
) -> Result<Vec<DynamicObject>, kube::Error> {
    let api = Api::<DynamicObject>::namespaced_with(
        client.clone(),
        namespace,
        &resource(api_version, kind),
    );
    let mut objects = api.list(&ListParams::default()).await?.items;
    for object in &mut objects {
        // Items of a list do not say what they are.
        object.types = Some(TypeMeta { api_version: api_version.into(), kind: kind.into() });
    }
    Ok(objects)
}
