//! The JSON form of a carrier, in `pluginConfig` and in the settings.

use core::{error::Error, fmt};

use serde::{Deserialize, Serialize};

use super::{Carrier, Source};
use crate::invalid_value::InvalidValue;

/// The JSON form of a carrier: exactly one source, and optionally `inject`.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    #[serde(skip_serializing_if = "Option::is_none")]
    baggage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cookie: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracestate: Option<String>,
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    inject: bool,
}

impl TryFrom<Fields> for Carrier {
    type Error = InvalidCarrier;

    fn try_from(fields: Fields) -> Result<Self, InvalidCarrier> {
        let Fields { baggage, cookie, header, host, query, tracestate, inject } = fields;
        let mut sources = [
            baggage.map(|name| token(name).map(Source::Baggage)),
            cookie.map(|name| token(name).map(Source::Cookie)),
            header.map(|name| header_name(&name).map(Source::Header)),
            host.map(|pattern| pattern.parse().map(Source::Host)),
            query.map(|name| parameter_name(name).map(Source::Query)),
            tracestate.map(|name| tracestate_key(name).map(Source::Tracestate)),
        ]
        .into_iter()
        .flatten();
        let (Some(source), None) = (sources.next(), sources.next()) else {
            return Err(InvalidCarrier::SourceCount);
        };
        match source.map_err(InvalidCarrier::Source)? {
            Source::Baggage(_) if inject => Err(InvalidCarrier::InjectFromBaggage),
            source => Ok(Self { source, inject }),
        }
    }
}

impl From<Carrier> for Fields {
    fn from(Carrier { source, inject }: Carrier) -> Self {
        let fields = Self { inject, ..Self::default() };
        match source {
            Source::Baggage(name) => Self { baggage: Some(name), ..fields },
            Source::Cookie(name) => Self { cookie: Some(name), ..fields },
            Source::Header(name) => Self { header: Some(name), ..fields },
            Source::Host(pattern) => Self { host: Some(pattern.to_string()), ..fields },
            Source::Query(name) => Self { query: Some(name), ..fields },
            Source::Tracestate(name) => Self { tracestate: Some(name), ..fields },
        }
    }
}

/// Why the fields do not form a carrier.
#[derive(Debug)]
pub(super) enum InvalidCarrier {
    /// `inject` is set for `baggage`.
    InjectFromBaggage,
    /// The name or pattern of the source is invalid.
    Source(InvalidValue),
    /// There is no source, or more than one.
    SourceCount,
}

impl fmt::Display for InvalidCarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InjectFromBaggage => f.write_str(
                "`inject` is not allowed with `baggage`, which contains the key already; remove \
                 `inject`",
            ),
            Self::Source(error) => error.fmt(f),
            Self::SourceCount => f.write_str(
                "expected exactly one of `baggage`, `tracestate`, `header`, `cookie`, `query` and \
                 `host`",
            ),
        }
    }
}

impl Error for InvalidCarrier {}

fn token(name: String) -> Result<String, InvalidValue> {
    check(name, "a token of RFC 9110 (letters, digits and !#$%&'*+-.^_`|~)", |name| {
        !name.is_empty() && name.bytes().all(is_token_byte)
    })
}

fn header_name(name: &str) -> Result<String, InvalidValue> {
    let name = token(name.to_ascii_lowercase())?;
    check(name, "a header of your own, such as `x-sandbox`", |name| {
        !RESERVED_HEADERS.contains(&name)
            && !RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    })
}

/// Headers that cannot be carriers, because others need them: an edge removes a carrier from every
/// request.
pub const RESERVED_HEADERS: [&str; 10] = [
    "authorization",
    "baggage",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "origin",
    "traceparent",
    "tracestate",
];

/// The first parts of further such headers.
pub const RESERVED_PREFIXES: [&str; 3] = ["x-envoy-", "x-forwarded-", "x-skycap-"];

fn parameter_name(name: String) -> Result<String, InvalidValue> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'&' | b'=' | b'#');
    check(name, "a query parameter (visible ASCII without `&`, `=` and `#`)", |name| {
        !name.is_empty() && name.bytes().all(plain)
    })
}

/// Checks the key of a `tracestate` member (Trace Context section 3.3.1.3.1).
fn tracestate_key(name: String) -> Result<String, InvalidValue> {
    let plain =
        |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    let expected = "a tracestate key (1 to 256 of `a-z 0-9 _ - * / @`, a letter or digit first)";
    check(name, expected, |name| {
        name.len() <= 256
            && name.bytes().all(plain)
            && name.starts_with(|first: char| first.is_ascii_alphanumeric())
    })
}

fn check(
    name: String,
    expected: &'static str,
    is_valid: impl Fn(&str) -> bool,
) -> Result<String, InvalidValue> {
    if is_valid(&name) { Ok(name) } else { Err(InvalidValue::new(&name, expected)) }
}

const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}
