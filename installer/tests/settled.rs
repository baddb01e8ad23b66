//! The rules of ConfigMaps that the cases of wasm-tests do not cover: age, warnings, ports. The tests
//! ask where a request goes, which the filter's own code answers.

use jiff::Timestamp;
use proptest::prelude::*;
use skycap::{
    objects::ObjectRef,
    problem::{Problem, Severity},
    table::{
        compile::{Compilation, compile},
        input::Input,
        manifests::Manifests,
    },
};
use skycap_core::{
    config::{ClusterDomain, Dispatch, PluginConfig},
    destination::Destination,
    table::{Seed, Table},
};

const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);

fn compiled(yaml: &str) -> Compilation {
    let mut manifests = Manifests::default();
    manifests.add(yaml, "file.yaml");
    compile(&Input::new(&manifests, NOW), NOW)
}

/// A sandbox in namespace `shop` that was created on this day of November.
fn sandbox(name: &str, day: u8, data: &str) -> String {
    format!(
        "---\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: shop, creationTimestamp: \
         '2026-11-{day:02}T00:00:00Z', labels: {{skycap.dev/kind: sandbox}}}}\ndata: {{{data}}}\n"
    )
}

fn service(name: &str, ports: &str) -> String {
    format!(
        "---\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{ports: [{ports}]}}\n"
    )
}

/// Where a request for `service` with `key` goes: a target's `name:port`, `503` or `baseline`.
fn destination(yaml: &str, key: &str, service: &str, port: u16) -> String {
    let config = compiled(yaml).config.unwrap_or_default();
    let cluster = format!("outbound|{port}||{service}.shop.svc.cluster.local").into_bytes();
    let picked = Destination::from_cluster(cluster, &ClusterDomain::default());
    let (Ok(table), Some(picked), Ok(key)) =
        (Table::new(config, Seed::new([1, 2])), picked, key.parse())
    else {
        return "invalid".into();
    };
    let route = table.find(&key).and_then(|routes| routes.find(&picked));
    let Some(route) = route else { return "baseline".into() };
    let port = route.to_port.map_or(port, std::num::NonZeroU16::get);
    if route.unavailable { "503".into() } else { format!("{}:{port}", route.to.name(&key)) }
}

/// `skycap disable --all` must work while another setting is wrong, and a typo must turn nothing off.
#[test]
fn the_kill_switch_holds_beside_a_mistake() {
    for (enabled, expected) in [("'false'", Some(false)), ("'true'", None), ("'flase'", None)] {
        let compilation = compiled(&format!(
            "---\nkind: ConfigMap\nmetadata: {{name: skycap, namespace: skycap-system}}\n\
             data: {{enabled: {enabled}, carriers: '- nothing: here', dispatch: header}}\n"
        ));
        let config = compilation.config.as_ref();
        assert_eq!(config.map(|config| config.enabled), expected, "{enabled}");
        assert!(config.is_none_or(|config| config.dispatch == Dispatch::Header));
        assert!(compilation.report.refuses(), "the mistake is reported");
    }
}

/// The warnings about `yaml`, of which nothing may be rejected.
fn warnings(yaml: &str) -> Vec<Problem> {
    let problems = compiled(yaml).report.problems;
    assert!(problems.iter().all(|p| p.severity == Severity::Warning), "{problems:?}");
    problems
}

/// The warnings about a field of a ConfigMap in namespace `shop`.
fn warnings_about<'a>(warnings: &'a [Problem], name: &str, field: &str) -> Vec<&'a str> {
    let object = ObjectRef::config_map("shop", name);
    let about = |p: &&Problem| p.object.as_deref() == Some(&object) && p.field == field;
    warnings.iter().filter(about).map(|p| p.text.as_str()).collect()
}

#[test]
fn the_oldest_fragment_with_a_destination_replaces_it() {
    let young = sandbox("a", 9, "key: k, routes: 'cart: young'");
    let old = sandbox("b", 1, "key: k, routes: 'cart: old'");
    let yaml = young.clone() + &old;
    assert_eq!(destination(&yaml, "k", "cart", 80), "old:80");
    let warnings = warnings(&yaml);
    let texts = warnings_about(&warnings, "a", "data.routes");
    assert!(warnings.len() == 1 && texts[0].contains("shop/b"), "{warnings:?}");
    // A disabled or expired fragment replaces nothing, so the next oldest takes its place.
    let off = sandbox("b", 1, "key: k, enabled: 'false', routes: 'cart: old'");
    assert_eq!(destination(&(young.clone() + &off), "k", "cart", 80), "young:80");
    let over = sandbox("b", 1, "key: k, ttl: 1d, routes: 'cart: old'");
    assert_eq!(destination(&(young.clone() + &over), "k", "cart", 80), "young:80");
    // A fragment that was never applied is younger than every fragment that was.
    let file = "---\nkind: ConfigMap\nmetadata: {name: A, namespace: shop, labels: \
                {skycap.dev/kind: sandbox}}\ndata: {key: k, routes: 'cart: file'}\n";
    assert_eq!(destination(&(file.to_owned() + &young), "k", "cart", 80), "young:80");
}

#[test]
fn one_key_in_two_namespaces_is_one_sandbox() {
    let shop = sandbox("k", 2, "routes: 'cart: cart-k'");
    let mall = sandbox("k", 1, "routes: 'cart: mall-k', extends: base").replace(": shop", ": mall");
    let base = sandbox("base", 3, "routes: 'search: search-base'");
    let yaml = shop + &mall + &base;
    assert_eq!(destination(&yaml, "k", "cart", 80), "cart-k:80");
    assert_eq!(destination(&yaml, "k", "search", 80), "search-base:80");
}

#[test]
fn a_cycle_ends_with_one_warning_for_each_key_on_it() {
    let yaml = sandbox("a", 1, "extends: b")
        + &sandbox("b", 1, "extends: c, routes: 'cart: cart-b'")
        + &sandbox("c", 1, "extends: b, routes: 'search: search-c'")
        + &sandbox("d", 1, "extends: nobody");
    assert_eq!(destination(&yaml, "a", "search", 80), "search-c:80");
    let warnings = warnings(&yaml);
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    for (name, expected) in [("b", "form a cycle"), ("c", "form a cycle"), ("d", "key `nobody`")] {
        let texts = warnings_about(&warnings, name, "data.extends");
        assert!(texts.len() == 1 && texts[0].contains(expected), "{name}: {warnings:?}");
    }
}

#[test]
fn the_oldest_fragment_that_sets_a_field_of_the_key_decides() {
    let yaml = sandbox("a", 2, "key: k, extends: young, routes: 'cart: cart-a'")
        + &sandbox("b", 1, "key: k, extends: old")
        + &sandbox("old", 1, "routes: 'search: search-old'")
        + &sandbox("young", 1, "routes: 'search: search-young'");
    assert_eq!(destination(&yaml, "k", "search", 80), "search-old:80");
    assert_eq!(destination(&yaml, "k", "cart", 80), "cart-a:80");
    let warnings = warnings(&yaml);
    let texts = warnings_about(&warnings, "a", "data.extends");
    assert!(warnings.len() == 1 && texts[0].contains("shop/b"), "{warnings:?}");
}

#[test]
fn target_ports_follow_from_the_services() {
    let routes = "routes: '{one: one-k, two: two-k, three: {to: two-k, toPort: 82}, four: {to: one-k, port: 81}}'";
    let yaml = sandbox("k", 1, routes)
        + &service("one", "{port: 80}, {port: 81}")
        + &service("one-k", "{port: 8080}, {port: 53, protocol: UDP}")
        + &service("two", "{port: 80}, {port: 83}")
        + &service("two-k", "{port: 80}, {port: 82}")
        + &service("three", "{port: 1}")
        + &service("four", "{port: 80}, {port: 81}");
    for (service, port, expected) in [
        ("one", 81, "one-k:8080"),
        ("two", 80, "two-k:80"),
        ("two", 83, "baseline"),
        ("three", 1, "two-k:82"),
        ("four", 81, "one-k:8080"),
        ("four", 80, "baseline"),
    ] {
        assert_eq!(destination(&yaml, "k", service, port), expected, "{service}:{port}");
    }
    let warnings = warnings(&yaml);
    let texts = warnings_about(&warnings, "k", "data.routes");
    assert!(
        warnings.len() == 1 && texts[0].contains("no port 83") && texts[0].contains("`toPort`"),
        "{warnings:?}"
    );
}

#[test]
fn the_warning_about_an_unavailable_target_says_where_requests_go() {
    let services = service("cart", "{port: 80}");
    let base = sandbox("base", 1, "routes: 'cart: cart'");
    for (data, expected, goes_to) in [
        ("routes: 'cart: cart-k'", "go to the baseline", "baseline"),
        ("routes: 'cart: cart-k', onUnavailable: fail", "get a 503", "503"),
        ("routes: 'cart: cart-k', extends: base", "fall back to the next key", "cart:80"),
    ] {
        let yaml = sandbox("k", 1, data) + &base + &services;
        assert_eq!(destination(&yaml, "k", "cart", 80), goes_to, "{data}");
        let warnings = warnings(&yaml);
        let texts = warnings_about(&warnings, "k", "data.routes");
        assert!(
            warnings.len() == 1
                && texts[0].contains(expected)
                && texts[0].contains("no Service `cart-k` in namespace `shop`"),
            "{data}: {warnings:?}"
        );
    }
}

#[test]
fn a_missing_baseline_is_a_warning() {
    let yaml = sandbox("k", 1, "routes: 'cart: cart-k'") + &service("cart-k", "{port: 80}");
    let warnings = warnings(&yaml);
    let texts = warnings_about(&warnings, "k", "data.routes");
    assert!(
        warnings.len() == 1 && texts[0].contains("no Service `cart` in namespace `shop`"),
        "{warnings:?}"
    );
    assert_eq!(destination(&yaml, "k", "cart", 80), "cart-k:80");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The table does not depend on the order of the input, and the filter accepts every table that
    /// is printed.
    #[test]
    fn the_order_of_the_input_does_not_matter(
        fragments in proptest::collection::vec((0_u8..6, 1_u8..28, 0_u8..4, 0_u8..6), 0..12)
            .prop_shuffle(),
    ) {
        let documents: Vec<_> = fragments
            .iter()
            .enumerate()
            .map(|(index, (key, age, service, extends))| {
                let data = format!("key: k{key}, extends: k{extends}, routes: 's{service}: t{index}'");
                sandbox(&format!("f{index}"), *age, &data)
            })
            .collect();
        let print = |documents: &mut dyn Iterator<Item = &String>| {
            let config = compiled(&documents.cloned().collect::<String>()).config;
            config.map(PluginConfig::into_json).transpose().unwrap_or_default().unwrap_or_default()
        };
        let json = print(&mut documents.iter());
        prop_assert_eq!(&json, &print(&mut documents.iter().rev()));
        prop_assert!(Table::from_json(json.as_bytes(), Seed::new([1, 2])).is_ok(), "{}", json);
    }
}
