//! Dispatch: how Envoy is directed to a target.

use core::{fmt, str::FromStr};

use crate::{invalid_value::InvalidValue, serde_as_text::serde_as_text};

/// How Envoy is directed to a target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dispatch {
    /// Rewrites `:authority` to the target's name. Does not need an EnvoyFilter.
    Authority,
    /// Sets `x-skycap-cluster` to the target's cluster, for the route that the EnvoyFilter adds.
    #[default]
    ClusterHeader,
    /// Sets `x-skycap-sandbox` to the key, for routes that the user writes.
    Header,
}

impl Dispatch {
    /// The dispatch header, which only the filter may set (law 4). `Authority` has none.
    #[must_use]
    pub const fn owned_header(self) -> Option<&'static str> {
        match self {
            Self::Authority => None,
            Self::ClusterHeader => Some(CLUSTER_HEADER),
            Self::Header => Some(SANDBOX_HEADER),
        }
    }
}

impl FromStr for Dispatch {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text {
            "authority" => Ok(Self::Authority),
            "cluster-header" => Ok(Self::ClusterHeader),
            "header" => Ok(Self::Header),
            _ => Err(InvalidValue::new(text, "`cluster-header`, `authority` or `header`")),
        }
    }
}

impl fmt::Display for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Authority => "authority",
            Self::ClusterHeader => "cluster-header",
            Self::Header => "header",
        })
    }
}

/// The header that names a cluster to the dispatch route. It exists only between the filter and
/// Envoy's router.
pub const CLUSTER_HEADER: &str = "x-skycap-cluster";

/// The header that contains the key: in requests to the upstream with dispatch `header`, and in
/// 503 responses to the client.
pub const SANDBOX_HEADER: &str = "x-skycap-sandbox";

serde_as_text!(Dispatch);
