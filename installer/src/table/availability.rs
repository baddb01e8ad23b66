//! Whether a target is available, and what a request gets while it is not.

use std::{num::NonZeroU16, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::problem::InvalidValue;

/// What a request gets while its target is unavailable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnavailable {
    /// The route is skipped: the search continues in the keys that the sandbox's key extends or
    /// joins, and ends at the baseline.
    #[default]
    Baseline,
    /// A 503.
    Fail,
}

impl OnUnavailable {
    /// The value of `onUnavailable`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Fail => "fail",
        }
    }
}

impl FromStr for OnUnavailable {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text {
            "baseline" => Ok(Self::Baseline),
            "fail" => Ok(Self::Fail),
            _ => Err(InvalidValue::new("value", text, "`baseline` or `fail`")),
        }
    }
}

/// Why a target is unavailable, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unavailable {
    /// The target's Service does not exist.
    #[error(
        "there is no Service `{service}` in namespace `{namespace}`; create it, or correct the name"
    )]
    NoService { service: String, namespace: String },
    /// The target's Service has no ready endpoint.
    #[error("Service `{service}` has no ready endpoint; check its Pods")]
    NotReady { service: String },
    /// The target's Service has several ports, and none of them is the destination's.
    #[error("Service `{service}` has no port {port}; choose one of its ports with `toPort`")]
    NoSuchPort { service: String, port: NonZeroU16 },
    /// The target's Service does not have the port in `toPort`.
    #[error("Service `{service}` has no port {port}; correct `toPort`")]
    WrongToPort { service: String, port: NonZeroU16 },
    /// The target has another port than the destination, and the dispatch cannot change it.
    #[error(
        "dispatch `authority` cannot change port {port} to {to_port}; give Service `{service}` \
         port {port}, or use dispatch `cluster-header`"
    )]
    OtherPort { service: String, port: NonZeroU16, to_port: NonZeroU16 },
}
