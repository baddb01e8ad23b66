//! Attacks by a developer who may write ConfigMaps in one namespace: on the table that all share, on
//! the keys of others, on the controller's time and memory, and on the terminal of whoever reads the
//! report.

mod compiled;
mod report;

use serde_json::{Value, json};
use skycap::{
    objects::ObjectRef,
    problem::{Problem, Severity},
    table::{
        compile::Compilation,
        limits::{SEARCHED_KEYS, TABLE_BYTES},
        report::FragmentState,
    },
};
use skycap_core::edge::Guard;

use self::compiled::{compiled, fragment};

fn settings(data: &Value) -> Value {
    fragment("settings", "skycap-system", "skycap", 0, data)
}

/// The targets of `key` in the table, in order; none if it is not there.
fn targets(compilation: &Compilation, key: &str) -> Vec<String> {
    let Some(config) = &compilation.config else { return Vec::new() };
    let numbers = config.keys.iter().find(|(name, _)| *name == key).map(|(_, numbers)| numbers);
    let numbers = numbers.into_iter().flatten().filter_map(|number| usize::try_from(*number).ok());
    numbers.filter_map(|number| Some(config.routes.get(number)?.to.to_string())).collect()
}

fn problems_of<'a>(compilation: &'a Compilation, namespace: &str, name: &str) -> Vec<&'a Problem> {
    let object = ObjectRef::config_map(namespace, name);
    let problems = compilation.report.problems.iter();
    problems.filter(|problem| problem.object.as_deref() == Some(&object)).collect()
}

#[test]
fn a_fragment_beyond_a_limit_is_refused() {
    let routes = |count: usize| (0..count).map(|n| format!("s{n}: t{n}\n")).collect::<String>();
    let members = |count: usize| (0..count).map(|n| format!("m{n}, ")).collect::<String>();
    let filled = |bytes: usize| format!("# {}", "x".repeat(bytes - "routes".len() - 2));
    for (kind, data, is_refused) in [
        ("sandbox", json!({"routes": routes(256)}), false),
        ("sandbox", json!({"routes": routes(257)}), true),
        ("group", json!({"members": members(64)}), false),
        ("group", json!({"members": members(65)}), true),
        ("sandbox", json!({"routes": filled(64 << 10)}), false),
        ("sandbox", json!({"routes": filled((64 << 10) + 1)}), true),
        // 460 bytes of aliases can stand for a million nodes.
        ("sandbox", json!({"routes": "cart: &target cart-pr-1\nlogin: *target\n"}), true),
    ] {
        let compilation = compiled(&[fragment(kind, "shop", "one", 0, &data)]);
        let found = problems_of(&compilation, "shop", "one");
        let refused = found.iter().any(|problem| problem.severity == Severity::Refused);
        assert_eq!(refused, is_refused, "{kind}: {found:?}");
    }
}

/// Whatever name a gateway's route has for a Service; and whoever names many others fills no table.
#[test]
fn a_route_guards_the_services_that_are_replaced() {
    let service = |name: &str, spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"}, "spec": spec});
    let policy = json!({"request": {"remove": ["x-user"]}});
    let to = |host: String| json!({"headers": policy, "route": [{"destination": {"host": host}}]});
    let many = (0..2_000).map(|n| to(format!("s{n}.shop")));
    let entry = |name: &str, http: Vec<Value>| {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"hosts": ["a.example.com"], "gateways": ["entry"], "http": http},
        })
    };
    let backend = json!({"kind": "Hostname", "group": "networking.istio.io", "name": "api.shop.svc.cluster.local"});
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "entry", "namespace": "shop"},
        "spec": {
            "parentRefs": [{"name": "entry"}],
            "rules": [{"filters": [{"type": "CORS"}], "backendRefs": [backend]}],
        },
    });
    let alias = json!({"type": "ExternalName", "externalName": "cart.shop.svc.cluster.local"});
    let port = json!({"ports": [{"port": 80}]});
    let routes = json!({"routes": "api: api-pr-1\ncart: cart-pr-1\nlogin: login-pr-1\n"});
    let compilation = compiled(&[
        fragment("sandbox", "shop", "pr-1", 0, &routes),
        service("alias", alias),
        service("cart", port),
        entry("one", vec![to("alias".into())]),
        entry("many", many.collect()),
        route,
    ]);
    let guard = compilation.config.expect("a table").edge.guard;
    let Guard::Services(guarded) = guard else { panic!("all Services are guarded") };
    let guarded: Vec<_> = guarded.iter().map(ToString::to_string).collect();
    assert_eq!(guarded, ["api.shop", "cart.shop"]);
}

/// A younger group of the same key in another namespace once came ahead of the key's `extends`.
#[test]
fn members_of_another_namespace_have_no_effect() {
    let victim = fragment("sandbox", "shop", "pr-124", 20, &json!({"routes": "cart: cart-pr-124"}));
    let routes = json!({"key": "pr-99", "routes": "pricing: evil"});
    let target = fragment("sandbox", "shop", "pr-99", 30, &routes);
    let data = json!({"key": "pr-124", "members": "pr-99"});
    let attack = fragment("group", "evil", "grab", 10, &data);
    let compilation = compiled(&[victim.clone(), target.clone(), attack]);
    assert_eq!(targets(&compilation, "pr-124"), ["cart-{key}"]);
    let refused = problems_of(&compilation, "evil", "grab");
    assert!(matches!(refused[..], [Problem { severity: Severity::Refused, .. }]), "{refused:?}");

    // The routes of such a fragment still apply, because its namespace owns these Services.
    let data = json!({"key": "pr-124", "extends": "pr-99", "routes": "web: web-pr-124"});
    let own = fragment("sandbox", "evil", "grab", 10, &data);
    let compilation = compiled(&[victim, target, own]);
    assert_eq!(targets(&compilation, "pr-124"), ["cart-{key}", "web-{key}"]);
}

/// An older, empty group once voided the members of the right one.
#[test]
fn an_empty_fragment_claims_nothing() {
    let routes = json!({"routes": "cart: cart-pr-1"});
    let sandbox = fragment("sandbox", "shop", "pr-1", 30, &routes);
    let group = fragment("group", "shop", "release", 10, &json!({"members": "pr-1"}));
    let attack = fragment("group", "evil", "x", 90, &json!({"key": "release", "members": ""}));
    let compilation = compiled(&[sandbox, group, attack]);
    assert_eq!(targets(&compilation, "release"), ["cart-pr-1"]);
}

#[test]
fn the_settings_say_who_owns_a_key() {
    let routes = json!({"routes": "cart: cart-pr-1"});
    let squatter = fragment("sandbox", "evil", "pr-1", 90, &json!({"routes": "web: web-pr-1"}));
    let base = fragment("sandbox", "shop", "base", 80, &json!({"routes": "pricing: pricing-v2"}));
    let data = json!({"key": "pr-1", "extends": "base", "routes": "cart: cart-pr-1"});
    let owner = fragment("sandbox", "shop", "mine", 10, &data);
    let objects = [squatter, base, owner];
    let squatted = compiled(&objects);
    assert_eq!(targets(&squatted, "pr-1"), ["cart-{key}", "web-{key}"], "{routes}");
    for (owners, is_owner) in [
        ("pr-: shop", true),
        ("{pr: evil, pr-: shop, pr-12: evil}", true),
        ("{\"\": shop, pr-: evil}", false),
        ("x: shop", false),
    ] {
        let settings = settings(&json!({"keyOwners": owners}));
        let compilation = compiled(&[&objects[..], &[settings]].concat());
        let wanted = if is_owner { 3 } else { 2 };
        assert_eq!(targets(&compilation, "pr-1").len(), wanted, "{owners}");
        let refused = problems_of(&compilation, "shop", "mine");
        assert_eq!(refused.is_empty(), is_owner, "{owners}: {refused:?}");
    }
    for invalid in ["[]", "pr-: [a]", "pr/: shop", "pr-: Shop", "pr-"] {
        let compilation = compiled(&[settings(&json!({"keyOwners": invalid}))]);
        assert!(compilation.config.is_none(), "`{invalid}` is accepted");
    }
}

/// The namespace that fills the table loses its youngest sandboxes; others lose nothing.
#[test]
fn a_namespace_that_fills_the_table_pays_for_it() {
    let long = "x".repeat(40);
    let hostile = |number: i64| {
        let routes: String = (0..256).map(|n| format!("s{n}: {long}-{n}-{number}\n")).collect();
        let data = json!({"routes": routes, "onUnavailable": "fail"});
        fragment("sandbox", "evil", &format!("e{number}"), 1_000 - number, &data)
    };
    let mut objects: Vec<_> = (0..100).map(hostile).collect();
    let routes = json!({"routes": "cart: cart-pr-1"});
    objects.push(fragment("sandbox", "shop", "pr-1", 1, &routes));
    let compilation = compiled(&objects);
    let json = compilation.config.clone().expect("a table").into_json().expect("JSON");
    assert!(json.len() <= TABLE_BYTES && json.len() > TABLE_BYTES * 9 / 10, "{}", json.len());
    assert_eq!(targets(&compilation, "pr-1"), ["cart-{key}"]);
    let states: Vec<_> = compilation.report.fragments.iter().map(|f| f.state).collect();
    let evicted = states.iter().filter(|state| **state == FragmentState::Evicted).count();
    let (last, hostile) = states.split_last().expect("fragments");
    assert_eq!(*last, FragmentState::Active);
    assert!(evicted > 30 && hostile.is_sorted_by_key(|state| *state == FragmentState::Evicted));
    let refused = problems_of(&compilation, "evil", "e99");
    assert!(refused.iter().any(|p| p.severity == Severity::Refused), "{refused:?}");

    objects.push(settings(&json!({"enabled": "false"})));
    let off = compiled(&objects).config.expect("the kill switch");
    assert!(!off.enabled && off.keys.is_empty() && off.routes.is_empty());
}

/// 3,000 routes that 100 groups join: 43 KB of ConfigMaps, and 300,000 rows.
#[test]
fn groups_that_multiply_rows_pay_for_them() {
    let mut objects = Vec::new();
    for n in 0..12 {
        let routes: String = (0..250).map(|m| format!("s{n}-{m}: t{n}-{m}\n")).collect();
        objects.push(fragment(
            "sandbox",
            "evil",
            &format!("e{n}"),
            2_000,
            &json!({"routes": routes}),
        ));
    }
    let members: Vec<_> = (0..12).map(|n| format!("e{n}")).collect();
    for n in 0..100 {
        let data = json!({"members": members.join(",")});
        objects.push(fragment("group", "evil", &format!("g{n}"), 1_000 - n, &data));
    }
    objects.push(fragment("sandbox", "shop", "pr-1", 1, &json!({"routes": "cart: cart-pr-1"})));
    let compilation = compiled(&objects);
    let json = compilation.config.clone().expect("a table").into_json().expect("JSON");
    assert!(json.len() <= TABLE_BYTES, "{}", json.len());
    assert_eq!(targets(&compilation, "pr-1"), ["cart-{key}"]);
}

/// 2,000 sandboxes that extend one another once took 8 s: each search visited all of them.
#[test]
fn a_chain_of_keys_is_searched_to_a_limit() {
    let link = |n: i64| {
        let data = json!({"extends": format!("k{}", n + 1), "routes": format!("s{n}: t{n}")});
        fragment("sandbox", "evil", &format!("k{n}"), 2_000 - n, &data)
    };
    let compilation = compiled(&(0..2_000).map(link).collect::<Vec<_>>());
    assert_eq!(targets(&compilation, "k0").len(), SEARCHED_KEYS);
    let config = compilation.config.expect("a table");
    assert!(config.keys.rows() <= 2_000 * SEARCHED_KEYS, "{} rows", config.keys.rows());
    assert!(compilation.report.problems.iter().any(|p| p.text.contains("more than 256 keys")));
}
