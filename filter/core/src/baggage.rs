//! Reading and writing one member of W3C Baggage.
//!
//! The grammar is <https://www.w3.org/TR/baggage/#header-content>.
//!
//! The list is read from its end. If several members have the same name, the last one wins
//! (OpenTelemetry specification, Baggage API, "Conflict Resolution"). Thus the first well-formed
//! member in this order is the result, and the members before it are not read.
//!
//! Only members with the requested name are checked against the grammar. Thus a malformed member
//! of another name neither hides nor breaks the requested one.

use crate::{
    key::{InvalidKey, RoutingKey},
    limits::{BAGGAGE_BYTES, BAGGAGE_MEMBERS},
    reading::{Reading, percent_decode, trim_ows, trim_ows_start},
    reason::Reason,
};

/// Searches for the member `name` in `list`, which is all `baggage` lines of a request, joined by
/// `,`.
///
/// A decoded value is read up to its first `;`. Names are compared as a whole and case-sensitively, and are never percent-decoded (W3C Baggage
/// section 3.3.1.1). Properties are skipped unread. A list longer than [`BAGGAGE_BYTES`] is dropped.
#[must_use]
pub fn find(list: &[u8], name: &str) -> Reading {
    if list.len() > BAGGAGE_BYTES {
        return Reading::dropped(Reason::CarrierTooLong);
    }
    let mut malformed = false;
    for member in members_from_end(list) {
        match value_of(member, name.as_bytes()) {
            Member::Foreign => {}
            Member::Malformed => malformed = true,
            Member::Value(value) => {
                // Python's SDK encodes a property into the value: `pr-1%3Bttl%3D1`.
                return match RoutingKey::collect(percent_decode(value), Some(b';')) {
                    Ok(key) => Reading::key(key),
                    Err(InvalidKey::Charset | InvalidKey::Empty | InvalidKey::TooLong) => {
                        Reading::dropped(Reason::InvalidKey)
                    }
                };
            }
        }
    }
    if malformed { Reading::dropped(Reason::MalformedMember) } else { Reading::absent() }
}

/// Writes the member `name=key` at the start of `list`, in the place of all members of that name.
/// Returns `None` if the result would exceed [`BAGGAGE_BYTES`] or [`BAGGAGE_MEMBERS`].
///
/// The new member is the first one, because SDKs that truncate a list do so at its end. Other
/// members stay unchanged, even malformed ones, because another reader may understand them.
#[must_use]
pub fn insert(list: &[u8], name: &str, key: &RoutingKey) -> Option<Vec<u8>> {
    let mut longer = [name.as_bytes(), b"=", key.as_bytes()].concat();
    let mut members: usize = 1;
    for member in list.split(|byte| *byte == b',') {
        if !has_name(member, name.as_bytes()) && !trim_ows(member).is_empty() {
            longer.push(b',');
            longer.extend_from_slice(member);
            members = members.saturating_add(1);
        }
    }
    (members <= BAGGAGE_MEMBERS && longer.len() <= BAGGAGE_BYTES).then_some(longer)
}

/// Returns the members of `list`, the last one first.
///
/// Most baggage has no member for skycap, and then most of the time is spent on finding commas.
/// [`last_comma`] therefore reads eight bytes at a time. With 400 bytes of baggage in Envoy 1.40,
/// this reduces the cost from 0.06 to 0.02 of a request through an empty filter.
fn members_from_end(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(list);
    core::iter::from_fn(move || {
        let list = rest?;
        let comma = last_comma(list);
        rest = comma.and_then(|comma| list.get(..comma));
        list.get(comma.map_or(0, |comma| comma.saturating_add(1))..)
    })
}

fn last_comma(list: &[u8]) -> Option<usize> {
    let (head, words) = list.as_rchunks::<8>();
    for (index, word) in words.iter().enumerate().rev() {
        let commas = zero_bytes(u64::from_le_bytes(*word) ^ u64::from_le_bytes([b','; 8]));
        if let Some(bit) = commas.checked_ilog2() {
            let before = index.saturating_mul(8).saturating_add(head.len());
            return before.checked_add(usize::try_from(bit / 8).ok()?);
        }
    }
    head.iter().rposition(|byte| *byte == b',')
}

/// Sets the top bit of each byte that is zero in `word`, and clears all other bits.
const fn zero_bytes(word: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    // The sum of a byte never carries into the next byte, so the result is exact for every byte.
    !((word & LOW).wrapping_add(LOW) | word | LOW)
}

/// One list member, compared with the requested name.
enum Member<'a> {
    /// The member has another name.
    Foreign,
    /// The member has the name, but no `=`, or a value outside the grammar.
    Malformed,
    /// The member has the name and this value, which is still percent-encoded.
    Value(&'a [u8]),
}

fn value_of<'a>(member: &'a [u8], name: &[u8]) -> Member<'a> {
    // The name is compared first: most members have another one, which its first bytes show.
    let Some(rest) = trim_ows_start(member).strip_prefix(name) else {
        return Member::Foreign;
    };
    match trim_ows_start(rest) {
        [b'=', value @ ..] => {
            let value = value.split(|byte| *byte == b';').next().map(trim_ows);
            value.filter(|value| is_baggage_value(value)).map_or(Member::Malformed, Member::Value)
        }
        [] | [b';', ..] => Member::Malformed,
        _ => Member::Foreign,
    }
}

/// Whether `member` has this name, whatever its value.
///
/// Apart from [`value_of`], which the compiler inlines only where it is called once.
fn has_name(member: &[u8], name: &[u8]) -> bool {
    let rest = trim_ows_start(member).strip_prefix(name).map(trim_ows_start);
    matches!(rest, Some([] | [b'=' | b';', ..]))
}

/// Whether `value` is `*baggage-octet`, with two hexadecimal digits after each `%`.
fn is_baggage_value(value: &[u8]) -> bool {
    let mut rest = value.iter();
    while let Some(byte) = rest.next() {
        let well_formed = match byte {
            b'%' => [rest.next(), rest.next()]
                .iter()
                .all(|digit| digit.is_some_and(u8::is_ascii_hexdigit)),
            0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e => true,
            _ => false,
        };
        if !well_formed {
            return false;
        }
    }
    true
}
