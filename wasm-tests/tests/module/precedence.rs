//! Where a Service has HTTPRoutes of others: a request with a key matches the same rules, keeps their
//! filters and goes to its sandbox; a baseline request behaves exactly as before. This holds for
//! random routes, by a model of how meshes pick a rule.

use proptest::prelude::*;
use serde_json::{Value, json};
use skycap_tests::{
    host::View,
    http_route_model::{Answer, HttpRouteModel, Route},
};

use super::shop::http_routes;

/// The HTTPRoutes of others: of each its age, and the matches of its rules.
type Foreign = Vec<(u32, Vec<Vec<Value>>)>;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn routes_of_others_apply_with_a_key_and_without(foreign in foreign(), mut request in request(), ours_first in any::<bool>()) {
        let values: Vec<_> = foreign.iter().enumerate().map(|(n, (age, rules))| manifest(n, *age, rules)).collect();
        let adapted = http_routes(&[1, 2].into(), &values);
        prop_assert!(adapted.problems.is_empty(), "{:?}", adapted.problems);
        let theirs = model(&foreign, &values);
        let ours = Route::of(&adapted.objects, "cart.shop", 80, if ours_first { 0 } else { 9 }).expect("within the limits");
        let all: Vec<_> = theirs.iter().chain(&ours).cloned().collect();
        for mesh in [HttpRouteModel::GatewayApi, HttpRouteModel::Linkerd] {
            let before = mesh.answer(&theirs, &request).expect("an answer");
            let baseline = mesh.answer(&all, &request).expect("an answer");
            prop_assert_eq!(&baseline, &expected(&before, None), "a baseline request on {:?}", mesh);

            request.headers.push(("baggage".into(), b"c=d, sandbox=pr-1".to_vec()));
            let sandboxed = mesh.answer(&all, &request).expect("an answer");
            request.headers.pop();
            prop_assert_eq!(&sandboxed, &expected(&before, Some("cart-pr-1")), "a request with a key on {:?}", mesh);
        }
    }
}

/// The answer that was `before` without skycap, when the request goes to this sandbox or to none.
fn expected(before: &Answer, sandbox: Option<&str>) -> Answer {
    let to = |service: &str| vec![format!("{service}.shop:80")];
    match (before, sandbox) {
        (Answer::Service, _) => {
            Answer::Rule { filters: Value::Null, backends: to(sandbox.unwrap_or("cart")) }
        }
        (Answer::Rule { filters, .. }, Some(sandbox)) => {
            Answer::Rule { filters: filters.clone(), backends: to(sandbox) }
        }
        (other, _) => other.clone(),
    }
}

/// The routes of others for the model, with the default match that the API server writes out.
fn model(foreign: &Foreign, values: &[Value]) -> Vec<Route> {
    let route = |(number, ((age, _), value)): (usize, (&(u32, _), &Value))| {
        let mut rules = value["spec"]["rules"].as_array().cloned().unwrap_or_default();
        for rule in &mut rules {
            if rule["matches"].is_null() {
                rule["matches"] = json!([{"path": {"type": "PathPrefix", "value": "/"}}]);
            }
        }
        Route { created: *age, name: format!("theirs-{number}"), rules }
    };
    foreign.iter().zip(values).enumerate().map(route).collect()
}

fn foreign() -> impl Strategy<Value = Foreign> {
    let rule = proptest::collection::vec(one_match(), 0..4);
    let route = (1_u32..4, proptest::collection::vec(rule, 1..7));
    proptest::collection::vec(route, 0..4)
}

/// A match with few possible values, so that two matches often overlap.
fn one_match() -> impl Strategy<Value = Value> {
    let path = prop_oneof![
        Just(json!(null)),
        Just(json!({"type": "PathPrefix", "value": "/"})),
        Just(json!({"type": "PathPrefix", "value": "/a"})),
        Just(json!({"type": "Exact", "value": "/a"})),
        Just(json!({"type": "PathPrefix", "value": "/a/b"})),
        Just(json!({"type": "RegularExpression", "value": "/a.*"})),
    ];
    let asks = |name: &'static str| {
        proptest::option::of(Just(json!({"type": "Exact", "name": name, "value": "1"})))
    };
    let method = proptest::option::of(Just("POST"));
    (path, method, asks("x"), asks("y"), asks("q")).prop_map(|(path, method, x, y, q)| {
        let mut one = json!({});
        if !path.is_null() {
            one["path"] = path;
        }
        if let Some(method) = method {
            one["method"] = method.into();
        }
        let headers: Vec<_> = [x, y].into_iter().flatten().collect();
        if !headers.is_empty() {
            one["headers"] = headers.into();
        }
        if let Some(q) = q {
            one["queryParams"] = json!([q]);
        }
        one
    })
}

fn request() -> impl Strategy<Value = View> {
    let path = proptest::sample::select(&["/", "/a", "/a/b", "/ab", "/c", "/a?q=1", "/?q=1"][..]);
    let method = proptest::sample::select(&["GET", "POST"][..]);
    (path, method, any::<bool>(), any::<bool>()).prop_map(|(path, method, x, y)| {
        let mut headers = vec![(":path", path), (":method", method), ("baggage", "a=b")];
        headers.extend(x.then_some(("x", "1")));
        headers.extend(y.then_some(("y", "1")));
        View {
            headers: headers
                .into_iter()
                .map(|(n, v)| (n.to_owned(), v.as_bytes().to_vec()))
                .collect(),
            cluster_name: None,
            virtual_host_name: None,
        }
    })
}

/// An HTTPRoute for the cart. Each of its rules has a filter and a backend of its own.
fn manifest(number: usize, age: u32, rules: &[Vec<Value>]) -> Value {
    let rules: Vec<_> = rules
        .iter()
        .enumerate()
        .map(|(place, matches)| {
            let mark = format!("{number}-{place}");
            let filter = json!({"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "rule", "value": mark}]}});
            let mut rule = json!({
                "filters": [filter],
                "backendRefs": [{"name": format!("theirs-{mark}"), "namespace": "shop", "port": 80}],
            });
            if !matches.is_empty() {
                rule["matches"] = matches.clone().into();
            }
            rule
        })
        .collect();
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": format!("theirs-{number}"), "namespace": "shop", "creationTimestamp": format!("2026-11-2{age}T00:00:00Z")},
        "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": "cart"}], "rules": rules},
    })
}
