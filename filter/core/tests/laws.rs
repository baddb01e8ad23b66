//! Laws of reading baggage, over inputs that nobody thought of. Native only: proptest wants a seed.
#![cfg(not(target_arch = "wasm32"))]

use proptest::prelude::*;
use skycap_core::{baggage, key::RoutingKey, reading::Reading};

/// A reader written from the W3C grammar alone, without a thought for cost:
///
/// ```text
/// list-member   = key OWS "=" OWS value *( OWS ";" OWS property )
/// key           = token
/// value         = *baggage-octet
/// baggage-octet = %x21 / %x23-2B / %x2D-3A / %x3C-5B / %x5D-7E
/// ```
/// What it adds: the last member of a name wins (OpenTelemetry), and a value is percent-decoded.
fn reference(list: &[u8], name: &str) -> Option<String> {
    let text: String = list.iter().map(|byte| char::from(*byte)).collect();
    let mut found = None;
    for member in text.split(',') {
        let pair = member.split(';').next().unwrap_or_default();
        let Some((key, value)) = pair.split_once('=') else { continue };
        let ows = |c: char| c == ' ' || c == '\t';
        let (key, value) = (key.trim_matches(ows), value.trim_matches(ows));
        let octet = |c: char| ('\x21'..='\x7e').contains(&c) && !"\",;\\".contains(c);
        if key == name && value.chars().all(octet) {
            found = decode(value).or(found);
        }
    }
    let is_key = |value: &String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._~-".contains(c);
        (1..=64).contains(&value.len()) && value.chars().all(plain)
    };
    found.filter(is_key)
}

/// The value with each `%XX` decoded, or `None` where a percent sign has no two digits.
fn decode(value: &str) -> Option<String> {
    let mut rest = value;
    let mut decoded = String::new();
    while let Some((before, behind)) = rest.split_once('%') {
        decoded.push_str(before);
        let digits =
            behind.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        decoded.push(char::from(u8::from_str_radix(digits, 16).ok()?));
        rest = &behind[2..];
    }
    decoded.push_str(rest);
    Some(decoded)
}

fn found(reading: Reading) -> Option<String> {
    reading.into_result().ok().map(|key| key.to_string())
}

const NAME: &str = "sandbox";

/// A piece of a list: the name and its near misses, marks of the grammar, keys and what is none.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    const WORDS: &[&str] = &[
        NAME,
        "my-sandbox",
        "sandbox2",
        "Sandbox",
        "=",
        "=",
        "=",
        ",",
        ",",
        ",",
        ";",
        " ",
        "\t",
        "%",
        "%2D",
        "%70",
        "%zz",
        "pr-1",
        "pr-12",
        "key",
        "\"",
        "\\",
        "",
    ];
    prop_oneof![
        8 => proptest::sample::select(WORDS).prop_map(|word| word.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
        1 => (1_usize..70).prop_map(|length| vec![b'a'; length]),
    ]
}

fn list() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(piece(), 0..40).prop_map(|pieces| pieces.concat())
}

/// A member of another name, as a well-behaved service writes it.
fn foreign() -> impl Strategy<Value = Vec<u8>> {
    "[a-rt-z][a-z.-]{0,12}[ \t]{0,2}=[ \t]{0,2}[a-zA-Z0-9%-]{0,40}(;[a-z]{1,4}){0,2}"
        .prop_map(String::into_bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_key_is_found_iff_the_reference_finds_it(list in list()) {
        prop_assert_eq!(found(baggage::find(&list, NAME)), reference(&list, NAME));
    }

    #[test]
    fn any_bytes_are_read(list in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(found(baggage::find(&list, NAME)), reference(&list, NAME));
    }

    #[test]
    fn unrelated_members_change_nothing(
        list in list(),
        others in proptest::collection::vec((any::<proptest::sample::Index>(), foreign()), 1..8),
    ) {
        let mut members: Vec<Vec<u8>> = list.split(|b| *b == b',').map(<[u8]>::to_vec).collect();
        for (place, other) in others {
            members.insert(place.index(members.len() + 1), other);
        }
        let longer = members.join(&b',');
        prop_assert_eq!(baggage::find(&longer, NAME), baggage::find(&list, NAME));
    }

    /// Envoy joins lines by `,`: so a list that is cut at its commas into lines is the same list,
    /// with or without empty lines and white space around.
    #[test]
    fn any_split_into_lines_changes_nothing(
        list in list(),
        gaps in proptest::collection::vec("[ \t]{0,2},?[ \t]{0,2}", 0..40),
    ) {
        let members: Vec<&[u8]> = list.split(|byte| *byte == b',').collect();
        let mut joined = Vec::new();
        for (index, member) in members.iter().enumerate() {
            joined.extend(if index == 0 { &b""[..] } else { b"," });
            joined.extend(gaps.get(index).map_or("", String::as_str).as_bytes());
            joined.extend(*member);
        }
        prop_assert_eq!(baggage::find(&joined, NAME), baggage::find(&list, NAME));
    }

    #[test]
    fn what_is_put_in_is_found(list in list(), key in "[A-Za-z0-9._~-]{1,64}") {
        let key: RoutingKey = key.parse().expect("a key of the charset");
        if let Some(longer) = baggage::insert(&list, NAME, &key) {
            prop_assert_eq!(baggage::find(&longer, NAME).into_result(), Ok(key));
            let kept = longer.starts_with(&list) || list.iter().all(u8::is_ascii_whitespace);
            prop_assert!(kept, "the existing members are untouched");
        }
    }

    #[test]
    fn keys_order_as_they_equal(a in "[A-Za-z0-9._~-]{1,4}", b in "[A-Za-z0-9._~-]{1,4}") {
        let parse = |text: &str| text.parse::<RoutingKey>().expect("a key of the charset");
        prop_assert_eq!(parse(&a).cmp(&parse(&b)), a.cmp(&b));
        prop_assert_eq!(parse(&a) == parse(&b), a == b);
    }
}
