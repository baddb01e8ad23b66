//! The carriers of a request from outside, without its keys.

use crate::{
    carrier::{Carrier, DEFAULT_MEMBER, Source},
    effect::CarrierEdit,
    key::RoutingKey,
    limits::{BAGGAGE_BYTES, BAGGAGE_MEMBERS},
    reading::{hex_byte, trim_ows},
    reason::{Drops, Reason},
    request::Request,
};

/// Removes every key from the carriers that services pass on, and writes the accepted key to the first
/// baggage member among them, or else to the first header. A carrier with `inject` adds it to baggage
/// too. Returns the edits of headers that change.
#[inline(never)]
pub(crate) fn clean(
    configured: &[Carrier],
    key: Option<(&RoutingKey, &Carrier)>,
    request: &impl Request,
    drops: &mut Drops,
) -> Vec<CarrierEdit> {
    let mut members: Vec<&str> = Vec::new();
    let mut headers: Vec<&str> = Vec::new();
    for Carrier { source, .. } in configured {
        match source {
            Source::Baggage(name) => members.push(name),
            Source::Header(name) => headers.push(name),
            Source::Cookie(_) | Source::Host(_) | Source::Query(_) | Source::Tracestate(_) => {}
        }
    }
    let is_in_baggage = !members.is_empty() || headers.is_empty();
    let injected = key.filter(|(_, carrier)| carrier.inject || is_in_baggage);
    if members.is_empty() && (headers.is_empty() || injected.is_some()) {
        members.push(DEFAULT_MEMBER);
    }
    let mut edits = Vec::new();
    let old = request.header("baggage");
    let injected = injected.map(|(key, _)| key);
    let new = clean_list(old.as_deref(), &members, injected, drops);
    edits.push(edit("baggage", old.as_deref(), new));
    for (index, header) in headers.iter().enumerate() {
        let old = request.header(header);
        let written = key.filter(|_| index == 0 && !is_in_baggage);
        let new = written.map(|(key, _)| key.as_bytes().to_vec());
        edits.push(edit(header, old.as_deref(), new));
    }
    edits.into_iter().flatten().collect()
}

fn edit(header: &str, old: Option<&[u8]>, value: Option<Vec<u8>>) -> Option<CarrierEdit> {
    (old != value.as_deref()).then(|| CarrierEdit { header: header.to_owned(), value })
}

/// Removes the members of these names from a list, and writes `key` to its start, as a member of the
/// first name. Returns `None` if the request has no list, or if no member remains.
fn clean_list(
    list: Option<&[u8]>,
    names: &[&str],
    key: Option<&RoutingKey>,
    drops: &mut Drops,
) -> Option<Vec<u8>> {
    let own = match (key, names.first()) {
        (Some(key), Some(name)) => [name.as_bytes(), b"=", key.as_bytes()].concat(),
        _ => Vec::new(),
    };
    let mut others = Vec::new();
    let (mut members, mut has_key) = (1_usize, false);
    for member in list.unwrap_or_default().split(|byte| *byte == b',') {
        if names.iter().any(|name| could_become(member, name)) {
            has_key = true;
        } else if !trim_ows(member).is_empty() {
            others.push(b',');
            others.extend_from_slice(member);
            members = members.saturating_add(1);
        }
    }
    if own.is_empty() && !has_key {
        return list.map(<[u8]>::to_vec);
    }
    let too_long =
        members > BAGGAGE_MEMBERS || own.len().saturating_add(others.len()) > BAGGAGE_BYTES;
    if !own.is_empty() && !too_long {
        return Some([own, others].concat());
    }
    if !own.is_empty() {
        drops.add(Reason::InjectionTooLong);
    }
    others.get(1..).map(<[u8]>::to_vec)
}

/// Whether a service that reads `member` and writes it again could make a member `name` of it, or of a
/// part of it.
///
/// SDKs differ in what they skip, decode and trim: Java's reads `;name=…`, Brave's `a=b=name=…`;
/// Python's decodes names, `+` to a space, and trims every white space of Latin-1; Ruby's drops white
/// space everywhere; Rust's decodes properties and writes them raw, so that `x=1;%2Cname=…` is a member
/// behind it, and what is encoded twice is one behind the next service. So all encodings are removed,
/// and every place behind a separator counts.
fn could_become(member: &[u8], name: &str) -> bool {
    let is_space = |byte: &u8| !byte.is_ascii_graphic() || (*byte == b'+' && !name.contains('+'));
    let bare: Vec<u8> = decode_fully(member).into_iter().filter(|byte| !is_space(byte)).collect();
    let mut is_first = true;
    let mut rest = bare.as_slice();
    loop {
        let end = rest.iter().position(|byte| matches!(byte, b',' | b';' | b'='));
        let (part, behind) = rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or_default();
        // A member without a value may begin with separators only.
        if part == name.as_bytes() && (is_first || behind.first() == Some(&b'=')) {
            return true;
        }
        is_first = behind.first() == Some(&b',') || (is_first && part.is_empty());
        match behind {
            [_, after @ ..] => rest = after,
            [] => return false,
        }
    }
}

/// Decodes each `%XX`, and those that the decoded bytes form, in one pass.
fn decode_fully(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    for byte in text {
        decoded.push(*byte);
        while let [.., b'%', high, low] = decoded.as_slice() {
            let Some(byte) = hex_byte(*high, *low) else { break };
            decoded.truncate(decoded.len().saturating_sub(3));
            decoded.push(byte);
        }
    }
    decoded
}
