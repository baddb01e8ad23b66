//! The schema of `pluginConfig`: what `skycap compile` writes and the filter reads.
//!
//! The writer and the reader use the same type, so the filter accepts every table that skycap
//! writes. The fields are domain types: a value of this type cannot contain an invalid port or an
//! invalid Service name.
//!
//! ```json
//! {"version": "1.1", "generation": "6d1f0c9a22b4",
//!  "carriers": [{"baggage": "sandbox"}],
//!  "routes": [{"service": "cart.shop", "to": "cart-{key}"}],
//!  "keys": "pr-123:0 pr-124:0"}
//! ```
//!
//! Each key lists its routes by their index in `routes` ([`Keys`]). In the name of a target,
//! `{key}` stands for the key. Thus a hundred thousand sandboxes of one Service share one route,
//! and each of them costs only the bytes of its key and one number.
//!
//! Istio transports the object as a protobuf Struct, which sorts the fields by name and converts
//! numbers to doubles. Therefore the order of fields has no meaning, and no number needs more than
//! 53 bits.

use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

pub use crate::{
    carrier::{Carrier, HostPattern, Source},
    config_error::ConfigError,
    dispatch::Dispatch,
    edge::{Edge, KeyPattern, Labels},
    explain::{Explain, InvalidExplain},
    invalid_value::InvalidValue,
    keys::Keys,
    names::{ClusterDomain, InvalidName, ServiceName, TargetPattern},
    version::{Generation, InvalidVersion, Version},
};
use crate::{config_error::Path, limits::CARRIERS};

/// A routing table with its settings, in the form in which it is sent to Envoy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginConfig {
    /// The version of the schema that the writer used.
    pub version: Version,
    /// A hash of all other fields, which identifies the table in metrics and reports.
    #[serde(default)]
    pub generation: Generation,
    /// `false` is the kill switch: every request is treated as if it had no key.
    #[serde(default = "enabled", skip_serializing_if = "is_true")]
    pub enabled: bool,
    /// How Envoy is directed to a target.
    #[serde(default)]
    pub dispatch: Dispatch,
    /// The parts of a request that may contain the key, in the order in which they are tried.
    #[serde(default = "default_carriers")]
    pub carriers: Vec<Carrier>,
    /// Which requests may ask for the decision header.
    #[serde(default, skip_serializing_if = "Explain::is_off")]
    pub explain: Explain,
    /// The DNS domain of the cluster's Services.
    #[serde(default, skip_serializing_if = "ClusterDomain::is_default")]
    pub cluster_domain: ClusterDomain,
    /// Which proxies are the [edge](crate::edge), and which keys from outside they accept. Since
    /// version 1.1.
    #[serde(default, skip_serializing_if = "Edge::is_open")]
    pub edge: Edge,
    /// The distinct routes. Their order has no meaning, except that `keys` refers to their indexes.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// The keys, each with the indexes of its routes.
    #[serde(default)]
    pub keys: Keys,
}

impl PluginConfig {
    /// Reads a configuration from the JSON that Envoy passes to the filter.
    ///
    /// A field that this version of the schema does not have is rejected, unless the version of
    /// the configuration is a newer minor version.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] that names the field. No part of the configuration can be used.
    pub fn from_json(json: &[u8]) -> Result<Self, ConfigError> {
        // serde would read the items of an array as the fields in their order.
        if json.trim_ascii_start().first() == Some(&b'[') {
            return Err(ConfigError::NotAnObject);
        }
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

    /// Writes this configuration as one line of JSON, with the [`Generation`] of its content.
    ///
    /// # Errors
    /// Returns the errors of `serde_json`. No value of this type is known to cause one.
    pub fn into_json(self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&self.stamped())
    }

    /// Returns this configuration with the [`Generation`] of its content.
    #[must_use]
    pub fn stamped(mut self) -> Self {
        self.generation = Generation::default();
        // A configuration that cannot be written is never sent, so its generation is never read.
        let json = serde_json::to_vec(&self).unwrap_or_default();
        self.generation = Generation::of(&json);
        self
    }

    /// Checks the rules that serde does not check.
    fn checked(self) -> Result<Self, ConfigError> {
        if self.carriers.is_empty() || self.carriers.len() > CARRIERS {
            return Err(ConfigError::Carriers { found: self.carriers.len() });
        }
        Ok(self)
    }
}

impl Default for PluginConfig {
    /// The defaults of the settings, and an empty table.
    fn default() -> Self {
        Self {
            version: Version::CURRENT,
            generation: Generation::default(),
            enabled: true,
            dispatch: Dispatch::default(),
            carriers: default_carriers(),
            explain: Explain::default(),
            cluster_domain: ClusterDomain::default(),
            edge: Edge::default(),
            routes: Vec::new(),
            keys: Keys::default(),
        }
    }
}

/// The replacement of one Service, on one port or on all ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The baseline Service.
    pub service: ServiceName,
    /// The baseline Service's port. `None` means every port that no other route of the key names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<NonZeroU16>,
    /// The Service that receives the request, in the baseline Service's namespace.
    pub to: TargetPattern,
    /// The target's port. `None` means the same port as the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_port: Option<NonZeroU16>,
    /// Whether the request gets a 503, because the target is unavailable and `onUnavailable` is
    /// `fail`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unavailable: bool,
}

fn default_carriers() -> Vec<Carrier> {
    vec![Carrier::default()]
}

const fn enabled() -> bool {
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
