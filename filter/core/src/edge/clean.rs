//! The carriers of a request from outside, without its keys.

use crate::{
    carrier::{Carrier, Source},
    effect::CarrierEdit,
    key::RoutingKey,
    limits::{BAGGAGE_BYTES, BAGGAGE_MEMBERS},
    reading::{percent_decode, trim_ows},
    reason::{Drops, Reason},
    request::Request,
};

/// Removes every key from the carriers that services pass on, and writes the accepted `key` to the
/// first of them. Returns the edits of headers that change.
#[inline(never)]
pub(crate) fn clean(
    configured: &[Carrier],
    key: Option<&RoutingKey>,
    request: &impl Request,
    drops: &mut Drops,
) -> Vec<CarrierEdit> {
    let default = Carrier::default();
    let mut sources: Vec<&Source> = Vec::new();
    for Carrier { source, .. } in configured {
        if source.is_passed_on() {
            sources.push(source);
        }
    }
    if sources.is_empty() {
        sources.push(&default.source);
    }
    let mut edits: Vec<CarrierEdit> = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let header = source.header();
        if sources.iter().take(index).any(|other| other.header() == header) {
            continue;
        }
        let old = request.header(header);
        let key = key.filter(|_| index == 0);
        let value = match source {
            Source::Header(_) => key.map(|key| key.as_bytes().to_vec()),
            _ => clean_list(old.as_deref(), header, &sources, key, drops),
        };
        if old.as_deref() != value.as_deref() {
            edits.push(CarrierEdit { header: header.to_owned(), value });
        }
    }
    edits
}

/// Removes the members of these sources from the list in `header`, and writes `key` to its start, as a
/// member of the first source. Returns `None` if there is no list, or no member is left.
fn clean_list(
    list: Option<&[u8]>,
    header: &str,
    sources: &[&Source],
    key: Option<&RoutingKey>,
    drops: &mut Drops,
) -> Option<Vec<u8>> {
    let is_key = |member: &[u8]| {
        sources.iter().any(|source| {
            let name = source.member_name().filter(|_| source.header() == header);
            name.is_some_and(|name| could_become(member, name))
        })
    };
    let own = match (key, sources.first().and_then(|first| first.member_name())) {
        (Some(key), Some(name)) => [name.as_bytes(), b"=", key.as_bytes()].concat(),
        _ => Vec::new(),
    };
    let mut others = Vec::new();
    let (mut members, mut has_key) = (1_usize, false);
    for member in list.unwrap_or_default().split(|byte| *byte == b',') {
        if is_key(member) {
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

/// Whether a service that reads `member` and writes it again could make a member `name` of it.
///
/// SDKs differ in what they decode and trim. Python's decodes names, `+` to a space, and trims every
/// white space of Latin-1. So the name is decoded, and other bytes than visible ASCII at its ends are
/// ignored.
fn could_become(member: &[u8], name: &str) -> bool {
    let raw = member.split(|byte| matches!(byte, b'=' | b';')).next().unwrap_or_default();
    let is_space = |byte: &u8| !byte.is_ascii_graphic() || (*byte == b'+' && !name.contains('+'));
    let mut bytes = percent_decode(raw).skip_while(is_space);
    name.bytes().all(|byte| bytes.next() == Some(byte)) && bytes.all(|byte| is_space(&byte))
}
