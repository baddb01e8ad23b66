//! The carriers that are lists of names and values: cookies, query parameters and tracestate.

use crate::{
    key::RoutingKey,
    limits::TRACESTATE_BYTES,
    reading::{Reading, percent_decode, trim_ows},
    reason::Reason,
};

/// Searches for the cookie `name` in all `cookie` lines, joined by `; ` (RFC 6265 section 4.2.1).
pub(super) fn find_cookie(cookies: &[u8], name: &str) -> Reading {
    let pairs = cookies.split(|byte| *byte == b';').filter_map(|pair| split_pair(trim_ows(pair)));
    first_of(pairs, name).map_or_else(Reading::absent, Reading::of)
}

/// Searches for the parameter `name` in the query of `path`, and percent-decodes its value.
pub(super) fn find_parameter(path: &[u8], name: &str) -> Reading {
    let path = path.split(|byte| *byte == b'#').next().unwrap_or_default();
    let Some(query) = path.splitn(2, |byte| *byte == b'?').nth(1) else {
        return Reading::absent();
    };
    let pairs = query.split(|byte| *byte == b'&').filter_map(split_pair);
    first_of(pairs, name).map_or_else(Reading::absent, |value| {
        RoutingKey::collect(percent_decode(value), None)
            .map_or_else(|_| Reading::dropped(Reason::InvalidKey), Reading::key)
    })
}

/// Searches for the member `name` in `list`, which is all `tracestate` lines, joined by `,` (Trace
/// Context section 3.3.1).
pub(super) fn find_tracestate(list: &[u8], name: &str) -> Reading {
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
