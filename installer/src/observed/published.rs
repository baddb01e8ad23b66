//! What the controller has published: the summary of its table, and the report.

use anyhow::Context as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};

use crate::{
    desired::published::Summary,
    names::{NAMESPACE, STATUS},
    table::report::Report,
};

/// Reads the controller's summary and report.
///
/// # Errors
/// There is none, another version of skycap wrote it, or the API server rejects the request.
pub async fn read_published(client: &Client) -> anyhow::Result<(Summary, Report)> {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let map = maps.get_opt(STATUS).await;
    let map = map.with_context(|| format!("cannot read the report {NAMESPACE}/{STATUS}"))?;
    let data = map.and_then(|map| map.data).with_context(|| {
        format!(
            "no report {NAMESPACE}/{STATUS} in the cluster: install skycap with `skycap install`, or \
             write the table once with `skycap sync`"
        )
    })?;
    let text = |name: &str| data.get(name).map(String::as_str).unwrap_or_default();
    let context = || {
        format!(
            "invalid report {NAMESPACE}/{STATUS}: another version of skycap wrote it; use the same \
             version of the command and the controller (`skycap version`)"
        )
    };
    Ok((
        serde_json::from_str(text("summary.json")).with_context(context)?,
        serde_json::from_str(text("report.json")).with_context(context)?,
    ))
}
