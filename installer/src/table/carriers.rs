//! The settings' `carriers`: a YAML list of the places in a request that can hold the key.

use serde_json::Value;
use skycap_core::{carrier::Carrier, limits::CARRIERS};

use super::yaml::{self, InvalidYaml};

/// Parses a list such as `[{baggage: sandbox}, {header: x-sandbox, inject: true}]`.
pub(crate) fn parse(text: &str) -> Result<Vec<Carrier>, InvalidCarriers> {
    let values: Vec<Value> = yaml::parse_value(text)?;
    if values.is_empty() || values.len() > CARRIERS {
        return Err(InvalidCarriers::Count(values.len()));
    }
    values.into_iter().enumerate().map(|(index, value)| carrier(index, value)).collect()
}

/// Why a list of carriers is rejected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidCarriers {
    /// Not YAML, or not a list.
    #[error("{0}; expected a list such as `- baggage: sandbox`")]
    Yaml(#[from] InvalidYaml),
    /// No carrier, or too many.
    #[error("found {0} carriers: expected 1 to {CARRIERS}")]
    Count(usize),
    /// A carrier with a field that does not exist.
    #[error(
        "carriers[{index}]: unknown field `{field}`: expected one of `baggage`, `tracestate`, \
         `header`, `cookie`, `query` or `host`, and optionally `inject`"
    )]
    UnknownField {
        /// The carrier's place in the list, from 0.
        index: usize,
        /// The field.
        field: String,
    },
    /// A carrier that the filter rejects.
    #[error("carriers[{index}]: {source}")]
    Carrier {
        /// The carrier's place in the list, from 0.
        index: usize,
        /// Why it is rejected.
        source: serde_json::Error,
    },
}

fn carrier(index: usize, value: Value) -> Result<Carrier, InvalidCarriers> {
    let mut unknown = None;
    let parsed = serde_ignored::deserialize(value, |path| unknown = Some(path.to_string()));
    match unknown {
        Some(field) => Err(InvalidCarriers::UnknownField { index, field }),
        None => parsed.map_err(|source| InvalidCarriers::Carrier { index, source }),
    }
}
