//! Law 3: a member that is written into baggage is read again, and changes no other member.

use proptest::prelude::*;
use skycap_core::{baggage, key::RoutingKey};

use crate::baggage::{NAME, find, list};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn an_inserted_key_is_found_and_the_list_is_kept(
        list in list(),
        key in "[A-Za-z0-9._~-]{1,64}",
    ) {
        let routing_key: RoutingKey = key.parse().expect("a key of the charset");
        let longer = baggage::insert(&list, NAME, &routing_key).expect("a list within the limits");
        let ows = |byte: &u8| matches!(byte, b' ' | b'\t');
        let name_of = |member: &[u8]| {
            let name = member.split(|byte| matches!(byte, b'=' | b';')).next().unwrap_or_default();
            let start = name.iter().position(|byte| !ows(byte)).unwrap_or(name.len());
            let end = name.iter().rposition(|byte| !ows(byte)).map_or(start, |last| last + 1);
            name[start..end].to_vec()
        };
        let is_other = |member: &&[u8]| {
            !member.iter().all(ows) && name_of(member) != NAME.as_bytes()
        };
        let others = list.split(|byte| *byte == b',').filter(is_other);
        let own = format!("sandbox={key}");
        let members: Vec<&[u8]> = std::iter::once(own.as_bytes()).chain(others).collect();
        prop_assert_eq!(longer.escape_ascii().to_string(), members.join(&b',').escape_ascii().to_string());
        prop_assert_eq!(find(&longer), Ok(key));
    }
}
