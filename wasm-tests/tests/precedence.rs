//! Where others have HTTPRoutes on a Service: a sandboxed request wins on each of their matches and
//! keeps their filters, and a baseline request behaves exactly as before. By a model of how meshes
//! pick a rule, over routes that nobody thought of. And between any two tables no single write leaves
//! a request astray.

use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use skycap::{
    desired::{
        gateway_api::HttpRoutes,
        plan::{Live, Plan, Step},
    },
    objects::Object,
    table::{compile::compile, input::Input, manifests::Manifests, meshes::Meshes},
};
use skycap_tests::{
    host::View,
    http_route_model::{Answer, HttpRouteModel, Route},
};

/// A match of somebody's: few values, so that two of them often meet.
fn one() -> impl Strategy<Value = Value> {
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

/// HTTPRoutes of somebody's, each with its age and rules.
fn foreign() -> impl Strategy<Value = Vec<(u32, Vec<Vec<Value>>)>> {
    let rule = proptest::collection::vec(one(), 0..4);
    let route = (1_u32..4, proptest::collection::vec(rule, 1..7));
    proptest::collection::vec(route, 0..4)
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

/// The YAML of a route: each rule has a filter and a backend of its own.
fn yaml(number: usize, age: u32, rules: &[Vec<Value>]) -> Value {
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

const SHOP: &str = "
kind: ConfigMap
metadata: {name: pr-1, namespace: shop, labels: {skycap.dev/kind: sandbox}}
data: {routes: 'cart: cart-pr-1'}
---
kind: ConfigMap
metadata: {name: pr-2, namespace: shop, labels: {skycap.dev/kind: sandbox}}
data: {routes: 'cart: cart-pr-2'}
---
{kind: Service, metadata: {name: cart, namespace: shop}, spec: {ports: [{port: 80}]}}
---
{kind: Service, metadata: {name: cart-pr-1, namespace: shop}, spec: {ports: [{port: 80}]}}
---
{kind: Service, metadata: {name: cart-pr-2, namespace: shop}, spec: {ports: [{port: 80}]}}
";

/// What skycap makes of the shop beside these routes.
fn adapted(foreign: &[Value]) -> HttpRoutes {
    adapted_to(SHOP, foreign)
}

fn adapted_to(shop: &str, foreign: &[Value]) -> HttpRoutes {
    let mut manifests = Manifests::default();
    manifests.add(shop, "shop");
    for route in foreign {
        manifests.add(&route.to_string(), "theirs");
    }
    let now = Timestamp::constant(1_795_000_000, 0);
    let input = Input::new(&manifests, now);
    let config = compile(&input, now).config.unwrap_or_default();
    HttpRoutes::new(&config, &input.cluster, &input.policies, &Meshes::default())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn theirs_hold_with_a_key_and_without(foreign in foreign(), mut request in request(), ours_first in any::<bool>()) {
        let values: Vec<_> = foreign.iter().enumerate().map(|(n, (age, rules))| yaml(n, *age, rules)).collect();
        let made = adapted(&values);
        prop_assert!(made.problems.is_empty(), "{:?}", made.problems);
        // Read as the model wants them: matches written out as the API server does.
        let theirs: Vec<_> = foreign.iter().zip(&values).enumerate().map(|(number, ((age, _), value))| {
            let mut rules = value["spec"]["rules"].as_array().cloned().unwrap_or_default();
            for rule in &mut rules {
                if rule["matches"].is_null() {
                    rule["matches"] = json!([{"path": {"type": "PathPrefix", "value": "/"}}]);
                }
            }
            Route { created: *age, name: format!("theirs-{number}"), rules }
        }).collect();
        let ours = Route::of(&made.objects, "cart.shop", 80, if ours_first { 0 } else { 9 }).expect("within the limits");
        for mesh in [HttpRouteModel::GatewayApi, HttpRouteModel::Linkerd] {
            let before = mesh.answer(&theirs, &request).expect("an answer");
            let all: Vec<_> = theirs.iter().chain(&ours).cloned().collect();
            let baseline = mesh.answer(&all, &request).expect("an answer");
            let cart = |name: &str| vec![format!("{name}.shop:80")];
            let as_before = match &before {
                Answer::Service => Answer::Rule { filters: Value::Null, backends: cart("cart") },
                other => other.clone(),
            };
            prop_assert_eq!(&baseline, &as_before, "a baseline request on {:?}", mesh);

            request.headers.push(("baggage".into(), b"c=d, sandbox=pr-1".to_vec()));
            let sandboxed = mesh.answer(&all, &request).expect("an answer");
            request.headers.pop();
            let wanted = match before {
                Answer::Service => Answer::Rule { filters: Value::Null, backends: cart("cart-pr-1") },
                Answer::Rule { filters, .. } => Answer::Rule { filters, backends: cart("cart-pr-1") },
                Answer::NotFound => Answer::NotFound,
            };
            prop_assert_eq!(sandboxed, wanted, "a sandboxed request on {:?}", mesh);
        }
    }
}

/// A shop in which these pull requests change the cart.
fn shop_of(keys: &BTreeSet<u16>) -> String {
    let mut yaml =
        "{kind: Service, metadata: {name: cart, namespace: shop}, spec: {ports: [{port: 80}]}}\n"
            .to_owned();
    for key in keys {
        yaml.push_str(&format!(
            "---\nkind: ConfigMap\nmetadata: {{name: pr-{key}, namespace: shop, labels: {{skycap.dev/kind: sandbox}}}}\ndata: {{routes: 'cart: cart-pr-{key}'}}\n\
             ---\n{{kind: Service, metadata: {{name: cart-pr-{key}, namespace: shop}}, spec: {{ports: [{{port: 80}}]}}}}\n"
        ));
    }
    yaml
}

/// The objects as the cluster has them.
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

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    /// Between any two tables, after each single write: the baseline is never without a rule, a
    /// key that stays is never without its sandbox, and no other goes to one.
    #[test]
    fn no_write_leaves_a_request_astray(
        before in proptest::collection::btree_set(0_u16..60, 0..40),
        after in proptest::collection::btree_set(0_u16..60, 0..40),
    ) {
        let mut cluster = live(&adapted_to(&shop_of(&before), &[]).objects).expect("objects");
        let wanted = adapted_to(&shop_of(&after), &[]).objects;
        let unwanted: Vec<_> = cluster.keys().cloned().collect();
        for step in Plan::new(wanted, &unwanted, &cluster).steps {
            match &step {
                Step::Create(object) | Step::Update(object, _) => {
                    cluster.extend(live(std::slice::from_ref(object)).expect("an object"));
                }
                Step::Delete(reference) => drop(cluster.remove(reference)),
            }
            prop_assert_eq!(backend(&cluster, None).expect("an answer"), "cart.shop:80");
            for key in 0..60 {
                let seen = backend(&cluster, Some(key)).expect("an answer");
                let own = format!("cart-pr-{key}.shop:80");
                let allowed = match (before.contains(&key), after.contains(&key)) {
                    (true, true) => seen == own,
                    (false, false) => seen == "cart.shop:80",
                    _ => seen == own || seen == "cart.shop:80",
                };
                prop_assert!(allowed, "pr-{} goes to {} after {:?}", key, seen, step.reference());
            }
        }
    }
}
