//! The data of a ConfigMap: flat strings, each of which is taken once.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::api::core::v1::ConfigMap;

use super::limits::FRAGMENT_BYTES;
use crate::problem::{InvalidField, InvalidValue};

/// The data of a ConfigMap. Taking a key removes it, so the keys that are left are unknown.
pub(crate) struct Data(BTreeMap<String, String>);

impl Data {
    pub(crate) fn of(map: &ConfigMap) -> Self {
        Self::new(map.data.clone().unwrap_or_default())
    }

    pub(crate) const fn new(data: BTreeMap<String, String>) -> Self {
        Self(data)
    }

    /// Checks that names and values have at most [`FRAGMENT_BYTES`] together.
    ///
    /// # Errors
    /// [`InvalidField`] with the size.
    pub(crate) fn check_size(&self) -> Result<(), InvalidField> {
        let bytes: usize = self.0.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes <= FRAGMENT_BYTES {
            return Ok(());
        }
        let text = format!(
            "too large: {bytes} bytes, expected at most {FRAGMENT_BYTES}; split it into several \
             ConfigMaps"
        );
        Err(InvalidField::new("data", text))
    }

    /// Takes `key` and parses its value, without the white space around it.
    ///
    /// # Errors
    /// [`InvalidField`] if the value is rejected.
    pub(crate) fn take<T, E: fmt::Display>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, InvalidField> {
        let value = self.0.remove(key);
        let parsed = value.map(|value| parse(value.trim())).transpose();
        parsed.map_err(|error| InvalidField::new(&format!("data.{key}"), error))
    }

    /// Checks that every key was taken; `expected` lists the valid keys for the message.
    ///
    /// # Errors
    /// [`InvalidField`] with the first key that was not taken.
    pub(crate) fn close(&self, expected: &str) -> Result<(), InvalidField> {
        self.0.keys().next().map_or(Ok(()), |key| {
            let text = format!("unknown key `{key}`: expected one of {expected}");
            Err(InvalidField::new(&format!("data.{key}"), text))
        })
    }
}

/// Parses a boolean: only `true` and `false`, so that a typo never turns a switch on or off.
pub(crate) fn parse_bool(text: &str) -> Result<bool, InvalidValue> {
    text.parse().map_err(|_| InvalidValue::new("value", text, "`\"true\"` or `\"false\"`"))
}
