//! Carriers: the places in a request that can hold the key, and the grammar of each.
//!
//! Baggage has a module of its own. What the others have in common: a name compares whole, the
//! first of several wins, and where there is something that is no key, the carrier holds none.

use serde::{Deserialize, Serialize};

use crate::{
    baggage,
    decision::Request,
    limits::TRACESTATE_BYTES,
    reading::{Reading, percent_decode, trim_ows},
    reason::Reason,
};

/// A place in a request that can hold the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
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
    /// Looks for a key in `request`.
    pub(crate) fn read(&self, request: &impl Request) -> Reading {
        let header = match self {
            Self::Baggage(_) => "baggage",
            Self::Cookie(_) => "cookie",
            Self::Header(name) => name,
            Self::Host(_) => ":authority",
            Self::Query(_) => ":path",
            Self::Tracestate(_) => "tracestate",
        };
        let Some(value) = request.header(header) else {
            return Reading::absent();
        };
        match self {
            Self::Baggage(name) => baggage::find(&value, name),
            Self::Cookie(name) => find_cookie(&value, name),
            Self::Header(_) => Reading::of(trim_ows(&value)),
            Self::Host(pattern) => pattern.find(&value),
            Self::Query(name) => find_parameter(&value, name),
            Self::Tracestate(name) => find_tracestate(&value, name),
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

/// A host with `{key}` in it once: `{key}.preview.example.com`, `cart--{key}.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    before: String,
    after: String,
}

impl HostPattern {
    fn find(&self, authority: &[u8]) -> Reading {
        let host = without_port(authority).to_ascii_lowercase();
        let key = host
            .strip_prefix(self.before.as_bytes())
            .and_then(|rest| rest.strip_suffix(self.after.as_bytes()));
        // Another host is no malformed carrier: most requests have one.
        key.map_or_else(Reading::absent, Reading::of)
    }
}

impl core::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}{{key}}{}", self.before, self.after)
    }
}

impl core::str::FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_host = |part: &str| {
            part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
        };
        let (before, after) = text.split_once("{key}").unwrap_or_default();
        if before.len().max(after.len()) == 0 || !is_host(before) || !is_host(after) {
            return Err(format!(
                "`{text}` is no host pattern, expected a host in lower case with one `{{key}}`, \
                 as `{{key}}.preview.example.com`"
            ));
        }
        Ok(Self { before: before.into(), after: after.into() })
    }
}

/// How a carrier is written: one place, and whether to inject.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Fields {
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
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
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
            return Err("a carrier names exactly one of `baggage`, `tracestate`, `header`, \
                        `cookie`, `query` and `host`"
                .into());
        };
        match source? {
            Source::Baggage(_) if inject => {
                Err("`inject` is for carriers other than baggage; remove it here".into())
            }
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

fn find_cookie(cookies: &[u8], name: &str) -> Reading {
    let pairs = cookies.split(|byte| *byte == b';').filter_map(|pair| split_pair(trim_ows(pair)));
    first_of(pairs, name).map_or_else(Reading::absent, Reading::of)
}

fn find_parameter(path: &[u8], name: &str) -> Reading {
    let path = path.split(|byte| *byte == b'#').next().unwrap_or_default();
    let Some(query) = path.splitn(2, |byte| *byte == b'?').nth(1) else {
        return Reading::absent();
    };
    let pairs = query.split(|byte| *byte == b'&').filter_map(split_pair);
    first_of(pairs, name).map_or_else(Reading::absent, |value| {
        crate::key::RoutingKey::collect(percent_decode(value))
            .map_or_else(|_| Reading::dropped(Reason::InvalidKey), Reading::key)
    })
}

fn find_tracestate(list: &[u8], name: &str) -> Reading {
    if list.len() > TRACESTATE_BYTES {
        return Reading::dropped(Reason::CarrierTooLong);
    }
    let members = list.split(|byte| *byte == b',').map(trim_ows);
    let mut malformed = false;
    for (key, value) in members.filter_map(split_pair) {
        if key != name.as_bytes() {
            continue;
        }
        if value.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'=') {
            return Reading::of(value);
        }
        malformed = true;
    }
    if malformed { Reading::dropped(Reason::MalformedMember) } else { Reading::absent() }
}

fn split_pair(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut halves = pair.splitn(2, |byte| *byte == b'=');
    Some((halves.next()?, halves.next()?))
}

fn first_of<'a>(
    mut pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    name: &str,
) -> Option<&'a [u8]> {
    pairs.find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value)
}

/// `authority` without `:port`; an IPv6 literal keeps its colons, being no key anyway.
fn without_port(authority: &[u8]) -> &[u8] {
    match authority.iter().rposition(|byte| *byte == b':').map(|colon| authority.split_at(colon)) {
        Some((host, [b':', port @ ..])) if port.iter().all(u8::is_ascii_digit) => host,
        _ => authority,
    }
}

fn token(name: String) -> Result<String, String> {
    if !name.is_empty() && name.bytes().all(is_token_byte) {
        return Ok(name);
    }
    Err(format!("`{name}` is no token of RFC 9110 (letters, digits, `!#$%&'*+-.^_`|~`)"))
}

fn header_name(name: &str) -> Result<String, String> {
    let name = token(name.to_ascii_lowercase())?;
    if name.starts_with("x-skycap-") {
        return Err(format!("header `{name}` belongs to skycap, choose another"));
    }
    Ok(name)
}

fn parameter_name(name: String) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'&' | b'=' | b'#');
    if !name.is_empty() && name.bytes().all(plain) {
        return Ok(name);
    }
    Err(format!("`{name}` is no name of a query parameter (visible ASCII without `&`, `=`, `#`)"))
}

/// Trace Context section 3.3.1.3.1.
fn tracestate_key(name: String) -> Result<String, String> {
    let plain =
        |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    if name.len() <= 256
        && name.bytes().all(plain)
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
    {
        return Ok(name);
    }
    Err(format!("`{name}` is no key of tracestate (`a-z 0-9 _ - * / @`, a letter or digit first)"))
}

const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// The baggage member that carries the key where the settings name none.
pub const DEFAULT_MEMBER: &str = "sandbox";
