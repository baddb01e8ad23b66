//! The law of the edge: whatever an outsider sends, no key is left, and nothing of others is lost.

use std::borrow::Cow;

use proptest::prelude::*;
use skycap_core::{
    baggage,
    decision::decide,
    effect::CarrierEdit,
    reason::Reason,
    request::Request,
    table::{Seed, Table},
};

const TABLE: &str = r#"{"version":"1.1","edge":"gateways accept:demo-1",
    "routes":[{"service":"cart.shop","to":"cart-{key}"}],"keys":"pr-1:0 demo-1:0"}"#;

/// A request for `cart.shop` with this baggage.
struct Baggage(Vec<u8>);

impl Request for Baggage {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        (name == "baggage").then(|| Cow::from(&self.0))
    }

    fn has_header(&self, name: &str) -> bool {
        name == "baggage"
    }

    fn cluster_name(&self) -> Option<Vec<u8>> {
        Some(b"outbound|80||cart.shop.svc.cluster.local".to_vec())
    }

    fn virtual_host_name(&self) -> Option<Vec<u8>> {
        None
    }
}

/// Pieces of which a list with hidden keys is made.
fn list() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        Just(b"sandbox".to_vec()),
        Just(b"%73andbox".to_vec()),
        Just(b"%2573andbox".to_vec()),
        Just(b"sand box".to_vec()),
        Just(b"%2C".to_vec()),
        Just(b"%3D".to_vec()),
        Just(b"%25".to_vec()),
        Just(b"x=1;".to_vec()),
        Just(b"=pr-1".to_vec()),
        Just(b"=demo-1".to_vec()),
        Just(b"my-".to_vec()),
        "[=;, +%\t]".prop_map(String::into_bytes),
        "[a-z]{1,3}".prop_map(String::into_bytes),
        any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat())
}

/// Whether a list has a member `sandbox` behind up to three services, each of which drops white space,
/// decodes all of it and writes it raw: worse than any SDK.
fn has_key_behind_services(mut list: Vec<u8>) -> bool {
    (0..4).any(|_| {
        list.retain(u8::is_ascii_graphic);
        let has_key = list.split(|byte| *byte == b',').any(|member| {
            let mut parts = member.split(|byte| *byte == b';').skip_while(|part| part.is_empty());
            parts.next().is_some_and(|first| first.starts_with(b"sandbox="))
        });
        list = decode(&list);
        has_key
    })
}

/// Decodes once, from left to right.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = text;
    while let [byte, behind @ ..] = rest {
        let hex = behind.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let hex = hex.filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) if *byte == b'%' => {
                decoded.push(value);
                rest = &behind[2..];
            }
            _ => {
                decoded.push(*byte);
                rest = behind;
            }
        }
    }
    decoded
}

#[test]
fn what_services_make_a_key_of_is_removed() {
    let table = Table::from_json(TABLE.as_bytes(), Seed::new([1, 2])).expect("a valid table");
    let table = table.placed_by(true, |_| None);
    for hidden in [
        "x=1;%2Csandbox=pr-123",
        "x=1;p=%2C%73andbox%3Dpr-123",
        "%2573andbox=pr-123",
        "%25252573andbox=pr-123",
        "sand box=pr-123",
        "sand\tbox=pr-123",
        "a=b=%73andbox=pr-123",
        ";sandbox=pr-123",
        "sandbox",
    ] {
        let request = Baggage(format!("a=1,{hidden},b=%20").into_bytes());
        let edits = decide(&table, &request).edge_edits(&request);
        let value = edits.first().and_then(|edit| edit.value.as_deref());
        assert_eq!(value, Some(b"a=1,b=%20".as_slice()), "{hidden}");
    }
    for foreign in ["x=sandbox", "my-sandbox=1", "x=1;p=sandbox", "sandbox-2=1", "x=%2Csand"] {
        let request = Baggage(format!("a=1,{foreign}").into_bytes());
        assert!(decide(&table, &request).edge_edits(&request).is_empty(), "{foreign}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn no_key_from_outside_is_left_and_nothing_of_others_is_lost(list in list()) {
        let table = Table::from_json(TABLE.as_bytes(), Seed::new([1, 2])).expect("a valid table");
        let table = table.placed_by(true, |_| None);
        let request = Baggage(list.clone());
        let mut decision = decide(&table, &request);
        let edits = decision.edge_edits(&request);
        let accepted = decision.key.as_ref().map(|(key, _)| key.to_string());
        let left = match edits.as_slice() {
            [] => Some(list.clone()),
            [CarrierEdit { header, value }] if header == "baggage" => value.clone(),
            other => panic!("{other:?}"),
        };
        let left = left.unwrap_or_default();
        let found = baggage::find(&left, "sandbox").into_result().ok().map(|key| key.to_string());
        prop_assert_eq!(&found, &accepted);
        prop_assert!(accepted.is_none_or(|key| key == "demo-1"));
        prop_assert!(matches!(decision.reason, Reason::NoKey | Reason::Routed));

        let own = found.as_ref().map(|key| format!("sandbox={key}")).unwrap_or_default();
        let others = left.strip_prefix(own.as_bytes()).unwrap_or(&left);
        prop_assert!(!has_key_behind_services(others.to_vec()), "{}", left.escape_ascii());

        let is_foreign = |member: &&[u8]| {
            let text = String::from_utf8_lossy(member);
            !text.contains("box") && member.iter().any(u8::is_ascii_graphic)
        };
        let members = |list: &[u8]| -> Vec<Vec<u8>> {
            let all = list.split(|byte| *byte == b',').filter(is_foreign);
            all.map(<[u8]>::to_vec).collect()
        };
        prop_assert_eq!(members(&left), members(&list));
    }
}
