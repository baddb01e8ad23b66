//! Deletes fragments whose end is long past. What they own goes with them, by the garbage collector.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Preconditions},
};

use crate::{objects::ObjectRef, observed::causes::causes, table::fragments::Fragment};

/// Deletes these fragments, unless they have changed and do not end any more. Returns whether that is
/// done; a failure is logged.
pub(super) async fn delete_overdue(client: &Client, overdue: &[ObjectRef]) -> bool {
    let mut is_done = true;
    for reference in overdue {
        match delete(client, reference).await {
            Ok(false) => {}
            Ok(true) => tracing::info!(object = %reference, "expired, deleted"),
            Err(error) => {
                let error = causes(&error);
                tracing::warn!(error, object = %reference, "cannot delete what has expired");
                is_done = false;
            }
        }
    }
    is_done
}

async fn delete(client: &Client, reference: &ObjectRef) -> Result<bool, kube::Error> {
    let namespace = reference.namespace.as_deref().unwrap_or_default();
    let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    // The controller has the permission to list ConfigMaps, but not to get one.
    let by_name = ListParams::default().fields(&format!("metadata.name={}", reference.name));
    let Some(map) = maps.list(&by_name).await?.items.into_iter().next() else { return Ok(false) };
    let now = Timestamp::now();
    let parsed = Fragment::parse(&map, None, now).and_then(Result::ok);
    if parsed.and_then(|one| one.expires).is_none_or(|expires| expires > now) {
        return Ok(false);
    }
    // Whoever moves its end at this moment wins.
    let preconditions =
        Preconditions { uid: map.metadata.uid, resource_version: map.metadata.resource_version };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
    match maps.delete(&reference.name, &params).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
        result => result.map(|_| true),
    }
}
