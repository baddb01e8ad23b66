//! Which proxies are an edge.

use core::{fmt, str::FromStr};

use crate::invalid_value::InvalidValue;

/// Proxies of the edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Workload {
    /// All gateways of Istio, but for those that Istio's chart labels as egress gateways.
    Gateways,
    /// The proxies whose Pods have all of these labels.
    Labels(Labels),
}

impl FromStr for Workload {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        if text == "gateways" { Ok(Self::Gateways) } else { text.parse().map(Self::Labels) }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateways => f.write_str("gateways"),
            Self::Labels(labels) => labels.fmt(f),
        }
    }
}

/// Labels of a Pod with their values, as `istio=ingressgateway,app=a`; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels(String);

impl Labels {
    /// The names and the values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.split(',').filter_map(|label| label.split_once('='))
    }
}

impl FromStr for Labels {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        // Kubernetes: `IsQualifiedName`, `IsValidLabelValue`.
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
        let is_label = |label: &str| {
            label.split_once('=').is_some_and(|(name, value)| {
                !name.is_empty() && name.bytes().chain(value.bytes()).all(is_part)
            })
        };
        if text.split(',').all(is_label) {
            return Ok(Self(text.into()));
        }
        Err(InvalidValue::new(text, "`gateways`, or labels such as `istio=ingressgateway,app=a`"))
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
