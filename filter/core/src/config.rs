//! The schema of `pluginConfig`: what `skycap compile` prints and the filter takes.
//!
//! One type serves both ends, so that a table that is printed is a table that is taken. Its fields
//! are already domain values: a configuration that names a bad port or a bad Service cannot be
//! held, only refused.
//!
//! ```json
//! {"version": "1.0", "generation": "6d1f0c9a22b4",
//!  "carriers": [{"baggage": "sandbox"}],
//!  "routes": [{"service": "cart.shop", "to": "cart-{key}"}],
//!  "keys": "pr-123:0 pr-124:0"}
//! ```
//! A key lists its routes by their place in `routes` ([`Keys`]), and a target that follows the key's name is
//! written with `{key}`: so a hundred thousand sandboxes of one Service share one route, and each
//! costs the bytes of its key and one number.
//!
//! Istio carries the object as a protobuf Struct, which sorts the fields by name and turns numbers
//! into doubles: nothing here depends on the order of fields or needs more than 53 bits.

use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

pub use crate::{
    carrier::{Carrier, Source},
    config_error::ConfigError,
    dispatch::Dispatch,
    explain::Explain,
    keys::Keys,
    names::{ClusterDomain, InvalidName, ServiceName, TargetPattern},
    version::{Generation, Version},
};
use crate::{config_error::Path, limits::CARRIERS};

/// A whole routing table with its settings, as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginConfig {
    /// The version of this schema that the writer speaks.
    pub version: Version,
    /// A hash of everything else, by which people and metrics tell tables apart.
    #[serde(default)]
    pub generation: Generation,
    /// `false` is the kill switch: every request passes as if it had no key.
    #[serde(default = "switched_on", skip_serializing_if = "is_true")]
    pub enabled: bool,
    /// How Envoy is made to take a target.
    #[serde(default)]
    pub dispatch: Dispatch,
    /// Where a key may stand in a request, in the order in which they are tried.
    #[serde(default = "default_carriers")]
    pub carriers: Vec<Carrier>,
    /// Who may ask for the decision header.
    #[serde(default, skip_serializing_if = "Explain::is_off")]
    pub explain: Explain,
    /// The DNS domain of the cluster's Services.
    #[serde(default, skip_serializing_if = "ClusterDomain::is_default")]
    pub cluster_domain: ClusterDomain,
    /// Every different route; their order has no meaning but for the numbers in `keys`.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// For each key, the numbers of its routes.
    #[serde(default)]
    pub keys: Keys,
}

impl PluginConfig {
    /// Reads a configuration as Envoy hands it to the filter.
    ///
    /// Unknown fields are refused, unless the writer speaks a newer minor version.
    ///
    /// # Errors
    /// [`ConfigError`], which names the path in the JSON. Nothing of the configuration is usable.
    pub fn from_json(json: &[u8]) -> Result<Self, ConfigError> {
        let mut unknown = None;
        let mut json = serde_json::Deserializer::from_slice(json);
        let mut track = serde_path_to_error::Track::new();
        let config: Self = serde_ignored::deserialize(
            serde_path_to_error::Deserializer::new(&mut json, &mut track),
            |path| unknown = unknown.take().or_else(|| Some(path.to_string())),
        )
        .map_err(|source| ConfigError::Json { path: Path::from(track.path()), source })?;
        json.end().map_err(|source| ConfigError::Json { path: Path::root(), source })?;
        match unknown {
            Some(path) if !config.version.is_newer() => Err(ConfigError::UnknownField { path }),
            _ => config.checked(),
        }
    }

    /// The JSON of this configuration in one line, with its [`Generation`] set from its content.
    ///
    /// # Errors
    /// As `serde_json`; no value of this type is known to cause one.
    pub fn into_json(self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&self.stamped())
    }

    /// This configuration with its [`Generation`] set from its content.
    #[must_use]
    pub fn stamped(mut self) -> Self {
        self.generation = Generation::default();
        // What cannot be written cannot travel either, so its generation is nobody's.
        let json = serde_json::to_vec(&self).unwrap_or_default();
        self.generation = Generation::of(&json);
        self
    }

    /// What serde cannot say of one field alone.
    fn checked(self) -> Result<Self, ConfigError> {
        if self.carriers.is_empty() || self.carriers.len() > CARRIERS {
            return Err(ConfigError::Carriers { found: self.carriers.len() });
        }
        Ok(self)
    }
}

impl Default for PluginConfig {
    /// The settings' defaults and an empty table.
    fn default() -> Self {
        Self {
            version: Version::CURRENT,
            generation: Generation::default(),
            enabled: true,
            dispatch: Dispatch::default(),
            carriers: default_carriers(),
            explain: Explain::default(),
            cluster_domain: ClusterDomain::default(),
            routes: Vec::new(),
            keys: Keys::default(),
        }
    }
}

/// What replaces one destination: `service`, on one port or on all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The baseline Service.
    pub service: ServiceName,
    /// The baseline Service's port; `None` is each that no other route of the key names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<NonZeroU16>,
    /// The Service that takes the request, of the baseline Service's namespace.
    pub to: TargetPattern,
    /// The target's port; `None` is the destination's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_port: Option<NonZeroU16>,
    /// Whether the request gets a 503, because the target is away and its sandbox says `fail`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unavailable: bool,
}

fn default_carriers() -> Vec<Carrier> {
    vec![Carrier::default()]
}

const fn switched_on() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_true(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}
