//! Laws of reading baggage, over inputs that nobody thought of. Native only: proptest wants a seed.
#![cfg(not(target_arch = "wasm32"))]

use std::borrow::Cow;

use proptest::prelude::*;
use skycap_core::{
    baggage, decision::decide, effect::Effect, key::RoutingKey, reading::Reading, request::Request,
    table::Table,
};

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

/// Carriers and, for each, the header and the value in which it finds a key of its own.
const CARRIERS: [(&str, &str, &str); 6] = [
    ("{\"baggage\":\"sandbox\"}", "baggage", "a=b,sandbox=k0"),
    ("{\"tracestate\":\"s\"}", "tracestate", "a=b,s=k1"),
    ("{\"header\":\"x-s\"}", "x-s", "k2"),
    ("{\"cookie\":\"s\"}", "cookie", "a=b; s=k3"),
    ("{\"query\":\"s\"}", ":path", "/?a=b&s=k4"),
    ("{\"host\":\"{key}.example.com\"}", ":authority", "k5.example.com"),
];

/// A request of these headers, to the cart.
struct Headers(Vec<(&'static str, Vec<u8>)>);

impl Request for Headers {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let found = self.0.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| Cow::from(value))
    }

    fn has_header(&self, name: &str) -> bool {
        self.0.iter().any(|(other, _)| *other == name)
    }

    fn cluster_name(&self) -> Option<Vec<u8>> {
        Some(b"outbound|80||cart.shop.svc.cluster.local".to_vec())
    }

    fn virtual_host_name(&self) -> Option<Vec<u8>> {
        None
    }
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

    /// Whatever their order and whichever are there, the first in the order that is there decides.
    #[test]
    fn the_first_carrier_with_a_key_decides(
        order in Just([0, 1, 2, 3, 4, 5]).prop_shuffle(),
        present in any::<[bool; 6]>(),
        broken in any::<[bool; 6]>(),
    ) {
        let carriers: Vec<_> = order.iter().map(|carrier| CARRIERS[*carrier].0).collect();
        let json = format!("{{\"version\":\"1.0\",\"carriers\":[{}]}}", carriers.join(","));
        let table = Table::from_json(json.as_bytes()).expect("a good table");
        let headers = (0..6).filter(|carrier| present[*carrier]).map(|carrier| {
            let (_, header, value) = CARRIERS[carrier];
            // What is no key decides nothing.
            let value = if broken[carrier] { value.replace('k', "\"") } else { value.into() };
            (header, value.into_bytes())
        });
        let request = Headers(headers.collect());
        let first = order.iter().find(|carrier| present[**carrier] && !broken[**carrier]);
        let key = decide(&table, &request).key.map(|(key, _)| key.to_string());
        prop_assert_eq!(key, first.map(|carrier| format!("k{carrier}")));
    }

    /// A table without sandboxes leaves every request as it came.
    #[test]
    fn without_sandboxes_no_byte_changes(list in list()) {
        let table = Table::from_json(br#"{"version":"1.0"}"#).expect("a good table");
        let request = Headers(vec![("baggage", list)]);
        prop_assert_eq!(decide(&table, &request).effect(), Effect::default());
    }
}
