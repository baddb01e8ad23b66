//! The settings' `keyOwners`: which namespace owns which keys.

use std::collections::BTreeMap;

use serde_json::Value;
use skycap_core::{
    key::{InvalidKey, RoutingKey},
    names::{InvalidName, check_label},
};

use super::yaml::{self, InvalidYaml};

/// Namespaces by the prefix of the keys that they own, such as `{pr-: shop, pay-: payments}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyOwners(BTreeMap<String, String>);

impl KeyOwners {
    /// Parses a YAML map from prefix to namespace.
    ///
    /// # Errors
    /// [`InvalidKeyOwners`] if it is not such a map.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidKeyOwners> {
        let Value::Object(entries) = yaml::parse_value(text)? else {
            return Err(InvalidKeyOwners::NotAMap);
        };
        let owners = entries.into_iter().map(|(prefix, namespace)| {
            let Value::String(namespace) = namespace else {
                return Err(InvalidKeyOwners::NotAMap);
            };
            match prefix.parse::<RoutingKey>() {
                Ok(_) | Err(InvalidKey::Empty) => {}
                Err(error) => return Err(InvalidKeyOwners::Prefix { prefix, error }),
            }
            check_label(&namespace)?;
            Ok((prefix, namespace))
        });
        owners.collect::<Result<_, _>>().map(Self)
    }

    /// The namespace of the longest prefix of `key`; `None` if no prefix matches.
    #[must_use]
    pub fn owner(&self, key: &RoutingKey) -> Option<&str> {
        let key = key.as_str();
        let prefixes = (0..=key.len()).rev().filter_map(|length| key.get(..length));
        // One look-up for each length, so that the cost does not grow with the owners.
        prefixes.filter_map(|prefix| self.0.get(prefix)).map(String::as_str).next()
    }
}

/// Why `keyOwners` is rejected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidKeyOwners {
    /// Not YAML.
    #[error("{0}; expected lines such as `pr-: shop`")]
    Yaml(#[from] InvalidYaml),
    /// A list or a scalar, or a namespace that is not text.
    #[error("expected a map from prefix to namespace, with lines such as `pr-: shop`")]
    NotAMap,
    /// A prefix that no key can have.
    #[error("invalid prefix `{prefix}`: it {error}")]
    Prefix { prefix: String, error: InvalidKey },
    /// Not the name of a namespace.
    #[error(transparent)]
    Namespace(#[from] InvalidName),
}
