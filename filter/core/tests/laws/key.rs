//! Routing keys compare as their texts do.

use proptest::prelude::*;
use skycap_core::key::RoutingKey;

proptest! {
    #[test]
    fn keys_are_equal_and_ordered_as_their_texts(
        a in "[A-Za-z0-9._~-]{1,4}",
        suffix in "[A-Za-z0-9._~-]{0,1}",
        other in "[A-Za-z0-9._~-]{1,4}",
    ) {
        let parse = |text: &str| text.parse::<RoutingKey>().expect("a key of the charset");
        for b in [a.clone() + &suffix, other] {
            prop_assert_eq!(parse(&a).cmp(&parse(&b)), a.cmp(&b));
            prop_assert_eq!(parse(&a) == parse(&b), a == b);
        }
    }
}
