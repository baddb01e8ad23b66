//! One key more or less rewrites one HTTPRoute.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use skycap::desired::gateway_api::packing::{Place, pack};
use skycap_core::key::RoutingKey;

fn pieces(names: &BTreeSet<String>, capacity: usize) -> BTreeMap<Place, Vec<RoutingKey>> {
    let keys = names.iter().filter_map(|name| Some((name.parse().ok()?, ()))).collect();
    pack(keys, capacity)
        .into_iter()
        .map(|(place, keys)| (place, keys.into_iter().map(|(key, ())| key).collect()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn one_key_more_rewrites_one_piece(
        names in proptest::collection::btree_set("pr-[0-9]{1,5}", 1..200),
        capacity in 1_usize..16,
    ) {
        let after = pieces(&names, capacity);
        let held: Vec<_> = after.values().flatten().collect();
        prop_assert_eq!(held.len(), names.len(), "each key is in one piece");
        prop_assert!(after.values().all(|keys| keys.len() <= capacity && keys.is_sorted()));

        let mut fewer = names.clone();
        let gone = fewer.pop_first().expect("there is one");
        let before = pieces(&fewer, capacity);
        let changed: Vec<_> = before.iter().filter(|(place, keys)| after.get(place) != Some(keys)).collect();
        prop_assert!(changed.len() <= 1, "{gone} changes {changed:?}");
    }
}

#[test]
fn pieces_are_well_filled() {
    let names: BTreeSet<_> = (0..2_000).map(|n| format!("pr-{n}")).collect();
    let pieces = pieces(&names, 15).len();
    assert!(pieces <= 210, "{pieces} HTTPRoutes for 2,000 keys");
}
