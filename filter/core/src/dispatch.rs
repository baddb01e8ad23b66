//! How Envoy is made to take a target.

use core::{fmt, str::FromStr};

use crate::serde_as_text::serde_as_text;

/// How Envoy is made to take a target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dispatch {
    /// Rewrites `:authority` to the target's name; needs no EnvoyFilter.
    Authority,
    /// Names the target's cluster in `x-skycap-cluster`, for the route that the EnvoyFilter adds.
    #[default]
    ClusterHeader,
    /// Names the key in `x-skycap-sandbox`, for routes of the user's own.
    Header,
}

impl Dispatch {
    /// The header that belongs to the filter, and so never to a client.
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
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "authority" => Ok(Self::Authority),
            "cluster-header" => Ok(Self::ClusterHeader),
            "header" => Ok(Self::Header),
            _ => Err(format!(
                "`{text}` is no dispatch, expected `cluster-header`, `authority` or `header`"
            )),
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

/// Names a cluster to the dispatch route; lives between the filter and Envoy's router only.
pub const CLUSTER_HEADER: &str = "x-skycap-cluster";

/// Names the key, in dispatch `header` to the upstream and with a 503 to the client.
pub const SANDBOX_HEADER: &str = "x-skycap-sandbox";

serde_as_text!(Dispatch);
