//! Deletes fragments whose end is long past. What they own goes with them, by the garbage collector.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use hyper::{Request, header::DATE};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Preconditions},
    client::Body,
};

use crate::{
    objects::ObjectRef,
    observed::causes::causes,
    table::{compile::Overdue, expiry, fragments::Fragment},
};

/// Deletes these fragments, unless they have changed and do not end any more. Returns whether that is
/// done; a failure is logged.
pub(super) async fn delete_overdue(client: &Client, overdue: &[Overdue]) -> bool {
    if overdue.is_empty() {
        return true;
    }
    let now = match earlier_now(client).await {
        Ok(now) => now,
        Err(error) => {
            tracing::warn!(error = causes(error.as_ref()), "cannot delete what has expired");
            return false;
        }
    };
    let mut is_done = true;
    // Reports and Events wait meanwhile, those of other namespaces too.
    let end = Instant::now() + PATIENCE;
    for Overdue { reference, grace } in overdue {
        if Instant::now() >= end {
            return false;
        }
        match delete(client, reference, *grace, now).await {
            Ok(Outcome::Changed) => {}
            Ok(Outcome::Deleted) => tracing::info!(object = %reference, "expired, deleted"),
            Ok(Outcome::Early) => is_done = false,
            Err(error) => {
                let error = causes(&error);
                tracing::warn!(error, object = %reference, "cannot delete what has expired");
                is_done = false;
            }
        }
    }
    is_done
}

/// What became of a fragment that was to be deleted.
enum Outcome {
    Deleted,
    /// It is gone, or has another end.
    Changed,
    /// By the API server's clock, which counts whole seconds, it is not time yet.
    Early,
}

/// The time by this clock, or by the API server's if that is earlier. A clock that jumps ahead stops
/// sandboxes from routing until it is right again, but what it deleted would not come back.
async fn earlier_now(client: &Client) -> anyhow::Result<Timestamp> {
    let request = Request::get("/version").body(Body::empty())?;
    // Any answer tells the time, a refusal too.
    let answer = client.send(request).await?;
    let date = answer.headers().get(DATE).context("the API server does not tell the time")?;
    let date = rfc2822::DateTimeParser::new().parse_timestamp(date.as_bytes())?;
    Ok(date.min(Timestamp::now()))
}

async fn delete(
    client: &Client,
    reference: &ObjectRef,
    grace: SignedDuration,
    now: Timestamp,
) -> Result<Outcome, kube::Error> {
    let namespace = reference.namespace.as_deref().unwrap_or_default();
    let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    // The controller has the permission to list ConfigMaps, but not to get one.
    let by_name = ListParams::default().fields(&format!("metadata.name={}", reference.name));
    let found = maps.list(&by_name).await?.items.into_iter().next();
    let time = found.as_ref().and_then(|map| deletion_of(map, grace, now));
    let (Some(map), Some(time)) = (found, time) else { return Ok(Outcome::Changed) };
    if time > now {
        let is_early = time <= Timestamp::now();
        return Ok(if is_early { Outcome::Early } else { Outcome::Changed });
    }
    // Whoever moves its end at this moment wins.
    let preconditions =
        Preconditions { uid: map.metadata.uid, resource_version: map.metadata.resource_version };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
    match maps.delete(&reference.name, &params).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Outcome::Changed),
        result => result.map(|_| Outcome::Deleted),
    }
}

/// When the fragment, as it is now, is to be deleted: its end may have moved since the compile.
fn deletion_of(map: &ConfigMap, grace: SignedDuration, now: Timestamp) -> Option<Timestamp> {
    let parsed = Fragment::parse(map, None, now).and_then(Result::ok);
    expiry::deletion(parsed.and_then(|fragment| fragment.expires), grace)
}

/// How long to delete before the next look at what there is to publish.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever moves the end of a sandbox at the last moment has the whole grace again.
    #[test]
    fn the_grace_counts_from_the_end_that_it_has_now() {
        let now: Timestamp = "2026-12-01T12:00:00Z".parse().expect("a time");
        for (data, expected) in [
            ("expires: '2026-12-01T11:00:00Z'", Some("2026-12-01T12:00:00Z")),
            ("expires: '2026-12-01T11:00:01Z'", Some("2026-12-01T12:00:01Z")),
            ("routes: 'a: b'", None),
            ("expires: soon", None),
        ] {
            let map = format!(
                "metadata: {{name: pr-1, namespace: shop, labels: {{skycap.dev/kind: sandbox}}}}\n\
                 data: {{{data}}}"
            );
            let map = serde_saphyr::from_str(&map).expect("a ConfigMap");
            let time = deletion_of(&map, SignedDuration::from_hours(1), now);
            assert_eq!(time, expected.map(|text| text.parse().expect("a time")), "{data}");
        }
    }
}
