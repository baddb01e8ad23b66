//! A queue and a Service are replaced by the same rules.

use proptest::prelude::*;
use serde_json::json;
use skycap_core::{
    config::ClusterDomain,
    destination::Destination,
    table::{Seed, Table},
};

use super::{
    compiled::{compiled, fragment},
    queue,
};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    /// Each key gets the messages of a queue where it would get the requests of a Service: by age,
    /// groups, `extends` and `match`.
    #[test]
    fn a_queue_goes_where_a_service_goes(
        fragments in proptest::collection::vec((0_u8..5, 1_i64..9, 0_u8..3, 0_u8..6, 0_u8..4), 0..12),
    ) {
        let mut objects = vec![queue("shop", "orders", 99, "orders")];
        for (index, (key, age, role, other, state)) in fragments.iter().enumerate() {
            let enabled = (*state > 0).to_string();
            let mut data = json!({"key": format!("k{key}"), "enabled": enabled});
            let kind = if *role == 2 { "group" } else { "sandbox" };
            if *role == 2 {
                data["members"] = format!("k{other}, k{}", (other + 2) % 5).into();
            } else {
                data["extends"] = format!("k{other}").into();
            }
            if *role == 0 {
                data["routes"] = format!("orders: s{index}").into();
                data["queues"] = "orders".into();
            }
            objects.push(fragment(kind, "shop", &format!("s{index}"), *age, &data));
        }
        let compilation = compiled(&objects);
        let table = Table::new(compilation.config.unwrap_or_default(), Seed::new([1, 2]))
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        let rules = &compilation.queues.unwrap_or_default()[&("shop".into(), "orders".into())];
        let cluster = b"outbound|80||orders.shop.svc.cluster.local".to_vec();
        let service = Destination::from_cluster(cluster, &ClusterDomain::default());
        let service = service.ok_or_else(|| TestCaseError::fail("no destination"))?;
        for key in (0..6).filter_map(|key| format!("k{key}").parse().ok()) {
            let route = table.find(&key).and_then(|routes| routes.find(&service));
            let target = route.map(|route| route.to.name(&key).to_string());
            prop_assert_eq!(rules.sandbox(&key).map(str::to_owned), target, "{} {:?}", key, objects);
        }
    }
}
