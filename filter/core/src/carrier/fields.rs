//! How a carrier is written, in `pluginConfig` and in the settings.

use serde::{Deserialize, Serialize};

use super::{Carrier, Source};

/// How a carrier is written: one place, and whether to inject.
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
