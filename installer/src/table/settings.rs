//! The settings: ConfigMap `skycap` in `skycap-system`.

use crate::names::{NAMESPACE, SETTINGS};
use k8s_openapi::api::core::v1::ConfigMap;
use skycap_core::{
    carrier::Carrier,
    config::{ClusterDomain, Dispatch, Explain, PluginConfig},
    limits::CARRIERS,
};

use super::{
    data::{Data, parse_bool},
    fragments::OnUnavailable,
    manifests::yaml_error,
    meshes::Meshes,
    origin::Origin,
    selector::NamespaceSelector,
};
use crate::problem::{Fault, Problem, Severity};

/// What holds for all sandboxes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The table's settings, with no row in it yet.
    pub config: PluginConfig,
    /// What a sandbox that does not say it gets.
    pub on_unavailable: OnUnavailable,
    /// Which meshes get the table.
    pub meshes: Meshes,
    /// Which namespaces take part; all of them where it says nothing.
    pub namespaces: NamespaceSelector,
}

impl Settings {
    /// Whether this ConfigMap is the settings, with or without a label.
    #[must_use]
    pub fn is(origin: &Origin) -> bool {
        origin.namespace == NAMESPACE && origin.name == SETTINGS
    }

    /// Parses the settings.
    ///
    /// # Errors
    /// The problem for which they are refused. Nothing is to be compiled then: a mistyped kill
    /// switch never means "on".
    pub fn parse(map: &ConfigMap, source: Option<&str>) -> Result<Self, Problem> {
        parse(Data(map.data.clone().unwrap_or_default())).map_err(|fault| {
            Origin::of(map, source).problem(Severity::Refused, &fault.field, fault.text)
        })
    }
}

fn parse(mut data: Data) -> Result<Settings, Fault> {
    let defaults = PluginConfig::default();
    let config = PluginConfig {
        enabled: data.take("enabled", parse_bool)?.unwrap_or(defaults.enabled),
        dispatch: data
            .take("dispatch", |text| text.parse::<Dispatch>().map_err(|error| error.to_string()))?
            .unwrap_or_default(),
        carriers: data.take("carriers", carriers)?.unwrap_or(defaults.carriers),
        explain: data
            .take("explain", |text| text.parse::<Explain>().map_err(|error| error.to_string()))?
            .unwrap_or_default(),
        cluster_domain: data
            .take("clusterDomain", |text| {
                text.parse::<ClusterDomain>().map_err(|error| error.to_string())
            })?
            .unwrap_or_default(),
        ..PluginConfig::default()
    };
    let on_unavailable = data.take("onUnavailable", str::parse)?.unwrap_or_default();
    let meshes = data.take("mesh", str::parse)?.unwrap_or_default();
    let namespaces = data.take("namespaces", str::parse)?.unwrap_or_default();
    data.close(
        "`enabled`, `dispatch`, `carriers`, `onUnavailable`, `explain`, `clusterDomain`, `mesh`, \
         `namespaces`",
    )?;
    Ok(Settings { config, on_unavailable, meshes, namespaces })
}

fn carriers(yaml: &str) -> Result<Vec<Carrier>, String> {
    let expected = "expected a list such as `- baggage: sandbox`";
    let value: Vec<serde_json::Value> = serde_saphyr::from_str(yaml)
        .map_err(|error| format!("{}; {expected}", yaml_error(&error, 0)))?;
    if value.is_empty() || value.len() > CARRIERS {
        return Err(format!("has {} carriers, expected 1 to {CARRIERS}", value.len()));
    }
    value.into_iter().enumerate().map(|(index, value)| carrier(index, value)).collect()
}

fn carrier(index: usize, value: serde_json::Value) -> Result<Carrier, String> {
    let mut unknown = None;
    let parsed = serde_ignored::deserialize(value, |path| unknown = Some(path.to_string()));
    match (parsed, unknown) {
        (Ok(carrier), None) => Ok(carrier),
        (Ok(_), Some(field)) => Err(format!(
            "[{index}]: `{field}` is no carrier, expected one of `baggage`, `tracestate`, \
             `header`, `cookie`, `query`, `host`, and `inject`"
        )),
        (Err(error), _) => Err(format!("[{index}]: {error}")),
    }
}
