//! Between any two tables, no single write sends a request astray.

use std::collections::BTreeSet;

use proptest::prelude::*;
use skycap::{
    desired::plan::{Live, Plan, Step},
    objects::Object,
};
use skycap_tests::{
    host::View,
    http_route_model::{Answer, HttpRouteModel, Route},
};

use super::shop::http_routes;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    /// After each single write: the baseline has a rule, a key that stays has its sandbox, and no other
    /// key reaches one.
    #[test]
    fn no_write_sends_a_request_astray(
        before in proptest::collection::btree_set(0_u16..60, 0..40),
        after in proptest::collection::btree_set(0_u16..60, 0..40),
    ) {
        let mut cluster = live(&http_routes(&before, &[]).objects).expect("objects");
        let wanted = http_routes(&after, &[]).objects;
        let unwanted: Vec<_> = cluster.keys().cloned().collect();
        for step in Plan::new(wanted, &unwanted, &cluster).steps {
            match &step {
                Step::Create(object) | Step::Once(object) | Step::Update(object, _) => {
                    cluster.extend(live(std::slice::from_ref(object)).expect("an object"));
                }
                Step::Delete(reference) => drop(cluster.remove(reference)),
            }
            prop_assert_eq!(backend(&cluster, None).expect("an answer"), "cart.shop:80");
            for key in 0..60 {
                let seen = backend(&cluster, Some(key)).expect("an answer");
                let allowed = is_allowed(key, &seen, &before, &after);
                prop_assert!(allowed, "pr-{} goes to {} after {:?}", key, seen, step.reference());
            }
        }
    }
}

/// Whether a request with this key may go to `seen` on the way from one table to the other.
fn is_allowed(key: u16, seen: &str, before: &BTreeSet<u16>, after: &BTreeSet<u16>) -> bool {
    let own = format!("cart-pr-{key}.shop:80");
    match (before.contains(&key), after.contains(&key)) {
        (true, true) => seen == own,
        (false, false) => seen == "cart.shop:80",
        _ => seen == own || seen == "cart.shop:80",
    }
}

/// The objects as the API server returns them.
fn live(objects: &[Object]) -> anyhow::Result<Live> {
    let of = |object: &Object| {
        Ok((object.reference(), serde_json::from_value(serde_json::to_value(object)?)?))
    };
    objects.iter().map(of).collect()
}

/// The backend of a request for the cart with this key, or with none.
fn backend(live: &Live, key: Option<u16>) -> anyhow::Result<String> {
    let objects: Vec<_> = live
        .values()
        .map(|object| Object::new(serde_json::to_value(object)?))
        .collect::<Result<_, _>>()?;
    let routes = Route::of(&objects, "cart.shop", 80, 0)?;
    let baggage = key.map_or_else(|| "a=b".to_owned(), |key| format!("sandbox=pr-{key}"));
    let request = View {
        headers: vec![("baggage".into(), baggage.into_bytes())],
        cluster_name: None,
        virtual_host_name: None,
    };
    Ok(match HttpRouteModel::Linkerd.answer(&routes, &request)? {
        Answer::Service => "cart.shop:80".into(),
        Answer::NotFound => "404".into(),
        Answer::Rule { backends, .. } => backends.join(" "),
    })
}
