//! Carriers: the places in a request that can hold the key, and the grammar of each.
//!
//! Baggage has a module of its own. What the others have in common: a name compares whole, the
//! first of several wins, and where there is something that is no key, the carrier holds none.

mod fields;
mod host;
mod lists;

use serde::{Deserialize, Serialize};

pub use self::host::HostPattern;
use self::lists::{find_cookie, find_parameter, find_tracestate};
use crate::{
    baggage,
    reading::{Reading, trim_ows},
};

/// A place in a request that can hold the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "fields::Fields", into = "fields::Fields")]
pub struct Carrier {
    /// Where.
    pub source: Source,
    /// Whether a key found here is put into the request's `baggage`, for everything behind it.
    pub inject: bool,
}

impl Default for Carrier {
    /// The baggage member `sandbox`.
    fn default() -> Self {
        Self { source: Source::Baggage(DEFAULT_MEMBER.into()), inject: false }
    }
}

/// Where a carrier looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The `baggage` member of this name.
    Baggage(String),
    /// The cookie of this name (RFC 6265 section 4.2.1), not decoded; the first of two wins.
    Cookie(String),
    /// The header of this name, in lower case, not decoded.
    Header(String),
    /// The host of the request: a pattern such as `{key}.preview.example.com`.
    Host(HostPattern),
    /// The query parameter of this name, percent-decoded; the first of two wins.
    Query(String),
    /// The `tracestate` member of this name (Trace Context section 3.3.1); the leftmost wins.
    Tracestate(String),
}

impl Source {
    /// The header to look into; `:path` and `:authority` are headers too.
    pub(crate) fn header(&self) -> &str {
        match self {
            Self::Baggage(_) => "baggage",
            Self::Cookie(_) => "cookie",
            Self::Header(name) => name,
            Self::Host(_) => ":authority",
            Self::Query(_) => ":path",
            Self::Tracestate(_) => "tracestate",
        }
    }

    /// Looks for a key in that header's value.
    pub(crate) fn find(&self, value: &[u8]) -> Reading {
        match self {
            Self::Baggage(name) => baggage::find(value, name),
            Self::Cookie(name) => find_cookie(value, name),
            Self::Header(_) => Reading::of(trim_ows(value)),
            Self::Host(pattern) => pattern.find(value),
            Self::Query(name) => find_parameter(value, name),
            Self::Tracestate(name) => find_tracestate(value, name),
        }
    }

    /// How it stands in the settings, such as `baggage sandbox`.
    #[must_use]
    pub fn label(&self) -> String {
        let (kind, name) = match self {
            Self::Baggage(name) => ("baggage", name.clone()),
            Self::Cookie(name) => ("cookie", name.clone()),
            Self::Header(name) => ("header", name.clone()),
            Self::Host(pattern) => ("host", pattern.to_string()),
            Self::Query(name) => ("query", name.clone()),
            Self::Tracestate(name) => ("tracestate", name.clone()),
        };
        format!("{kind} {name}")
    }
}

/// The baggage member that carries the key where the settings name none.
pub const DEFAULT_MEMBER: &str = "sandbox";
