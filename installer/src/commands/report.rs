//! The report: the controller's, or one that is compiled here.

use anyhow::Context as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};

use crate::{
    desired::{gateway_api::HttpRoutes, published::Summary},
    names::{NAMESPACE, STATUS},
    table::{compile::Compilation, input::Input, report::Report},
};

/// Reads the controller's summary and report.
///
/// # Errors
/// There is none, another version of skycap wrote it, or the API server rejects the request.
pub(crate) async fn read_published(client: &Client) -> anyhow::Result<(Summary, Report)> {
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

/// The report of a compile, with the problems of its HTTPRoutes where a mesh takes them: what the
/// controller would publish.
pub(crate) fn whole_report(input: &Input, compilation: Compilation) -> Report {
    let Compilation { config, mut report, .. } = compilation;
    let meshes = input.meshes();
    if let Some(config) = config.filter(|_| meshes.take_http_routes()) {
        let routes = HttpRoutes::new(&config, &input.cluster, &input.policies, &meshes);
        report.add(routes.problems);
    }
    report
}
