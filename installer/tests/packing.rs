//! Adding or removing one key rewrites at most one existing HTTPRoute.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use skycap::desired::gateway_api::packing::{SegmentStart, pack};
use skycap_core::key::RoutingKey;

fn segments(names: &BTreeSet<String>, capacity: usize) -> BTreeMap<SegmentStart, Vec<RoutingKey>> {
    let keys = names.iter().filter_map(|name| Some((name.parse().ok()?, ()))).collect();
    pack(keys, capacity)
        .into_iter()
        .map(|(start, keys)| (start, keys.into_iter().map(|(key, ())| key).collect()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn adding_a_key_changes_at_most_one_segment(
        names in proptest::collection::btree_set("pr-[0-9]{1,5}", 1..200),
        capacity in 1_usize..16,
    ) {
        let after = segments(&names, capacity);
        let held: Vec<_> = after.values().flatten().collect();
        prop_assert_eq!(held.len(), names.len(), "each key is in one segment");
        prop_assert!(after.values().all(|keys| keys.len() <= capacity && keys.is_sorted()));

        let mut fewer = names.clone();
        let added = fewer.pop_first().expect("at least one name is generated");
        let before = segments(&fewer, capacity);
        let is_changed = |(start, keys): &(&SegmentStart, &Vec<_>)| after.get(start) != Some(keys);
        let changed: Vec<_> = before.iter().filter(is_changed).collect();
        prop_assert!(changed.len() <= 1, "adding {added} changes {changed:?}");
    }
}

#[test]
fn segments_are_two_thirds_full() {
    let names: BTreeSet<_> = (0..2_000).map(|n| format!("pr-{n}")).collect();
    let segments = segments(&names, 15).len();
    // 2,000 keys in segments of 10.
    assert!((190..=210).contains(&segments), "{segments} HTTPRoutes for 2,000 keys");
}
