//! How Envoy is made to take a target, and who may ask why.

use core::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::version::serde_as_text;

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

/// Who may ask for the decision header.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Explain {
    /// Nobody: the filter does not even look.
    #[default]
    Off,
    /// Whoever sends `x-skycap-explain: 1`.
    On,
    /// Whoever sends `x-skycap-explain` with this token.
    Token(String),
}

impl Explain {
    /// Whether nobody may ask.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }

    /// Whether a request whose [`EXPLAIN_HEADER`] has this value gets its answer.
    #[must_use]
    pub fn allows(&self, value: &[u8]) -> bool {
        match self {
            Self::Off => false,
            Self::On => value == b"1",
            Self::Token(token) => value == token.as_bytes(),
        }
    }
}

impl FromStr for Explain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("token:")) {
            ("off", _) => Ok(Self::Off),
            ("on", _) => Ok(Self::On),
            (_, Some(token))
                if !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()) =>
            {
                Ok(Self::Token(token.into()))
            }
            // The text may hold a token, so it is not repeated.
            _ => Err("explain is neither `off`, `on` nor `token:` with visible ASCII".into()),
        }
    }
}

impl fmt::Display for Explain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::On => f.write_str("on"),
            Self::Token(token) => write!(f, "token:{token}"),
        }
    }
}

/// A token is a secret of sorts: what logs a configuration must not log it.
impl fmt::Debug for Explain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "Off",
            Self::On => "On",
            Self::Token(_) => "Token(…)",
        })
    }
}

/// Names a cluster to the dispatch route; lives between the filter and Envoy's router only.
pub const CLUSTER_HEADER: &str = "x-skycap-cluster";

/// Names the key, in dispatch `header` to the upstream and with a 503 to the client.
pub const SANDBOX_HEADER: &str = "x-skycap-sandbox";

/// Asks for the decision header.
pub const EXPLAIN_HEADER: &str = "x-skycap-explain";

/// Answers with the decision: one line for each hop, the innermost first.
pub const DECISION_HEADER: &str = "x-skycap-decision";

serde_as_text!(Dispatch, Explain);
