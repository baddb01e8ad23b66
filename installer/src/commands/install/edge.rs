//! What an upgrade changes at the edge.

use kube::Client;
use skycap_core::config::PluginConfig;

use super::read_settings;
use crate::{
    desired::istio::IstioMesh,
    names::{NAMESPACE, SETTINGS},
    observed::api,
    table::settings::Settings,
};

/// A line for the user if this installation closes an edge that was open: with a skycap before
/// `pluginConfig` 1.1, a key from outside routed at every gateway.
pub(super) async fn closing(client: &Client, mesh: &IstioMesh) -> anyhow::Result<Option<String>> {
    let live = api::read(client, &mesh.references()).await?;
    let table = mesh.table_of(&live).map(ToString::to_string);
    let table = table.and_then(|json| PluginConfig::from_json(json.as_bytes()).ok());
    let edge = read_settings(client).await?.unwrap_or_else(Settings::default).config.edge;
    let closes = table.is_some_and(|table| table.edge.is_open()) && !edge.is_open();
    Ok(closes.then(|| {
        format!(
            "warning: a routing key from outside has no effect any more at the edge (by default all ingress \
             gateways); to accept every key again: kubectl -n {NAMESPACE} patch configmap {SETTINGS} --type merge -p \
             '{{\"data\":{{\"edge\":\"accept: open\"}}}}'"
        )
    }))
}
