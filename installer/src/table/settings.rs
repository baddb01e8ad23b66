//! The settings: ConfigMap `skycap` in namespace `skycap-system`.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::ConfigMap;
use skycap_core::config::{ClusterDomain, Dispatch, Explain, PluginConfig};

use super::{
    availability::OnUnavailable,
    carriers,
    data::{Data, parse_bool},
    edge, expiry,
    key_owners::KeyOwners,
    meshes::Meshes,
    origin::Origin,
    selector::NamespaceSelector,
};
use crate::problem::{InvalidField, InvalidValue, Problem};

/// What applies to all sandboxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The settings of the filter: a table without rows.
    pub config: PluginConfig,
    /// What a sandbox without `onUnavailable` gets.
    pub on_unavailable: OnUnavailable,
    /// The meshes that get the table.
    pub meshes: Meshes,
    /// The namespaces that take part; by default all of them.
    pub namespaces: NamespaceSelector,
    /// Which namespaces own which keys; other keys belong to the namespace that uses them first.
    pub key_owners: KeyOwners,
    /// Whether a request from outside skips the policy of the gateway's own route, as it does in a
    /// sidecar.
    pub edge_bypass: bool,
    /// How long after its end an expired fragment is deleted; `None` for never.
    pub delete_expired: Option<SignedDuration>,
}

impl Default for Settings {
    /// Without settings: keys from outside have no effect.
    fn default() -> Self {
        Self {
            config: PluginConfig { edge: edge::closed(), ..PluginConfig::default() },
            on_unavailable: OnUnavailable::default(),
            meshes: Meshes::default(),
            namespaces: NamespaceSelector::default(),
            key_owners: KeyOwners::default(),
            edge_bypass: false,
            delete_expired: Some(DELETE_EXPIRED),
        }
    }
}

impl Settings {
    /// Parses the settings.
    ///
    /// # Errors
    /// The problem for which they are rejected. The caller must not compile then, so that a
    /// mistyped kill switch never means "on"; see [`RejectedSettings::off`].
    pub fn parse(map: &ConfigMap, source: Option<&str>) -> Result<Self, RejectedSettings> {
        parse(Data::of(map)).map_err(|field| RejectedSettings {
            problem: Origin::of(map, source).refusal(field),
            off: off(Data::of(map)).map(Box::new),
        })
    }
}

/// Settings that are rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedSettings {
    /// Why.
    pub problem: Problem,
    /// What applies if the kill switch is on all the same: a mistake in another field must not keep
    /// anybody from turning skycap off.
    pub off: Option<Box<Settings>>,
}

/// The settings of the kill switch, with the other fields as far as they are valid; `None` if it is
/// not on.
fn off(mut data: Data) -> Option<Settings> {
    let is_on = data.take("enabled", parse_bool).ok()??;
    let defaults = Settings::default();
    let dispatch = data.take("dispatch", str::parse::<Dispatch>).ok().flatten();
    let domain = data.take("clusterDomain", str::parse::<ClusterDomain>).ok().flatten();
    let config = PluginConfig {
        enabled: false,
        dispatch: dispatch.unwrap_or_default(),
        cluster_domain: domain.unwrap_or_default(),
        ..defaults.config
    };
    let meshes = data.take("mesh", str::parse::<Meshes>).ok().flatten().unwrap_or_default();
    (!is_on).then_some(Settings { config, meshes, ..Settings::default() })
}

fn parse(mut data: Data) -> Result<Settings, InvalidField> {
    let defaults = PluginConfig::default();
    let config = PluginConfig {
        enabled: data.take("enabled", parse_bool)?.unwrap_or(defaults.enabled),
        dispatch: data.take("dispatch", str::parse::<Dispatch>)?.unwrap_or_default(),
        carriers: data.take("carriers", carriers::parse)?.unwrap_or(defaults.carriers),
        explain: data.take("explain", str::parse::<Explain>)?.unwrap_or_default(),
        cluster_domain: data
            .take("clusterDomain", str::parse::<ClusterDomain>)?
            .unwrap_or_default(),
        edge: data.take("edge", edge::parse)?.unwrap_or_else(edge::closed),
        ..PluginConfig::default()
    };
    let on_unavailable = data.take("onUnavailable", str::parse::<OnUnavailable>)?;
    let meshes = data.take("mesh", str::parse::<Meshes>)?;
    let namespaces = data.take("namespaces", str::parse::<NamespaceSelector>)?;
    let key_owners = data.take("keyOwners", KeyOwners::parse)?;
    let delete_expired = data.take("deleteExpired", parse_delete_expired)?;
    let edge_bypass = data.take("edgeBypass", edge::parse_bypass)?.unwrap_or_default();
    data.close(
        "`enabled`, `dispatch`, `carriers`, `onUnavailable`, `explain`, `clusterDomain`, `mesh`, \
         `namespaces`, `keyOwners`, `edge`, `edgeBypass`, \
         `deleteExpired`",
    )?;
    Ok(Settings {
        config,
        on_unavailable: on_unavailable.unwrap_or_default(),
        meshes: meshes.unwrap_or_default(),
        namespaces: namespaces.unwrap_or_default(),
        key_owners: key_owners.unwrap_or_default(),
        edge_bypass,
        delete_expired: delete_expired.unwrap_or(Some(DELETE_EXPIRED)),
    })
}

fn parse_delete_expired(text: &str) -> Result<Option<SignedDuration>, InvalidValue> {
    if text == "never" {
        return Ok(None);
    }
    let expected = "a duration such as `1h`, or `never`";
    expiry::duration_of(text).map(Some).map_err(|_| InvalidValue::new("value", text, expected))
}

/// Time enough to move the end of a sandbox that somebody still needs.
const DELETE_EXPIRED: SignedDuration = SignedDuration::from_hours(1);
