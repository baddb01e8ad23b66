//! The data of a ConfigMap: flat strings, each of which is taken once.

use std::collections::BTreeMap;

use crate::problem::Fault;

/// The data of a ConfigMap, of which each key is taken once.
pub(crate) struct Data(pub(crate) BTreeMap<String, String>);

impl Data {
    /// Takes `key` out and parses it.
    pub(crate) fn take<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Fault> {
        let value = self.0.remove(key);
        let parsed = value.map(|value| parse(value.trim())).transpose();
        parsed.map_err(|text| Fault::new(&format!("data.{key}"), text))
    }

    /// Refuses what nobody took.
    pub(crate) fn close(&self, expected: &str) -> Result<(), Fault> {
        self.0.keys().next().map_or(Ok(()), |key| {
            let text = format!("is no data key of skycap, expected one of {expected}");
            Err(Fault::new(&format!("data.{key}"), text))
        })
    }
}

pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("`{text}` is no toggle, expected `\"true\"` or `\"false\"`"))
}
