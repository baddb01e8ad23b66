//! Carriers: the parts of a request that may contain the key, and the grammar of each.
//!
//! [`baggage`] has its own module. The other carriers have these rules in common: names are
//! compared as a whole, the first of several well-formed values wins, and if that value is not a
//! routing key, the carrier contains no key.

mod fields;
mod host;
mod lists;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use self::lists::{find_cookie, find_parameter, find_tracestate};
pub use self::{
    fields::{RESERVED_HEADERS, RESERVED_PREFIXES},
    host::HostPattern,
};
use crate::{
    baggage,
    key::RoutingKey,
    reading::{Reading, trim_ows},
};

/// The key of a message in a queue: that of the first of `carriers` that contains one. `header` gives
/// all values of the header of this name, joined by `,`.
///
/// Only `baggage`, `tracestate` and headers apply: a message has no cookies, host or path.
pub fn find_in_message<'m>(
    carriers: &[Carrier],
    header: impl Fn(&str) -> Option<Cow<'m, [u8]>>,
) -> Option<RoutingKey> {
    carriers.iter().filter(|carrier| carrier.source.is_in_messages()).find_map(|carrier| {
        let value = header(carrier.source.header())?;
        carrier.source.find(&value).into_result().ok()
    })
}

/// A part of a request that may contain the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "fields::Fields", into = "fields::Fields")]
pub struct Carrier {
    /// The part of the request.
    pub source: Source,
    /// Whether a key found here is added to the request's `baggage`, for the services behind.
    pub inject: bool,
}

impl Default for Carrier {
    /// The baggage member `sandbox`.
    fn default() -> Self {
        Self { source: Source::Baggage(DEFAULT_MEMBER.into()), inject: false }
    }
}

/// The part of a request that a carrier searches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The `baggage` member of this name.
    Baggage(String),
    /// The cookie of this name (RFC 6265 section 4.2.1). Not decoded. The first of several wins.
    Cookie(String),
    /// The header of this name, which is in lower case. Not decoded.
    Header(String),
    /// The host of the request, if it matches a pattern such as `{key}.preview.example.com`.
    Host(HostPattern),
    /// The query parameter of this name. Percent-decoded. The first of several wins.
    Query(String),
    /// The `tracestate` member of this name (Trace Context section 3.3.1). The first of several wins.
    Tracestate(String),
}

impl Source {
    /// The header to search, or the pseudo-header `:path` or `:authority`.
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

    /// Whether it is read inside the mesh while there is an [edge](crate::edge): a header that services
    /// pass on to the services that they call.
    #[must_use]
    pub const fn is_passed_on(&self) -> bool {
        matches!(self, Self::Baggage(_) | Self::Header(_))
    }

    /// Whether a message of a queue can contain it.
    #[must_use]
    pub const fn is_in_messages(&self) -> bool {
        matches!(self, Self::Baggage(_) | Self::Header(_) | Self::Tracestate(_))
    }

    /// Searches for a key in the value of [`header`](Self::header).
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

    /// The kind and the name, such as `baggage sandbox`.
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

/// The baggage member that contains the key, if the settings do not name another one.
pub const DEFAULT_MEMBER: &str = "sandbox";
