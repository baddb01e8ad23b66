//! What is settled of ConfigMaps, where the case table of wasm-tests does not show it: age,
//! warnings, ports. What is asserted is where a request goes, by the filter's own code.

use jiff::Timestamp;
use proptest::prelude::*;
use skycap::table::{
    compile::{Compilation, compile},
    input::Input,
    manifests::Manifests,
};
use skycap_core::{
    config::{ClusterDomain, PluginConfig},
    destination::Destination,
    table::Table,
};

const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);

fn compiled(yaml: &str) -> Compilation {
    let mut manifests = Manifests::default();
    manifests.add(yaml, "file.yaml");
    compile(&Input::new(&manifests, NOW), NOW)
}

/// A sandbox of namespace `shop`; `age` is its day of November.
fn sandbox(name: &str, age: u8, data: &str) -> String {
    format!(
        "---\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: shop, creationTimestamp: \
         '2026-11-{age:02}T00:00:00Z', labels: {{skycap.dev/kind: sandbox}}}}\ndata: {{{data}}}\n"
    )
}

fn service(name: &str, ports: &str) -> String {
    format!(
        "---\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{ports: [{ports}]}}\n"
    )
}

/// Where a request for `service` with `key` goes: a target's `name:port`, `503` or `baseline`.
fn way(yaml: &str, key: &str, service: &str, port: u16) -> String {
    let config = compiled(yaml).config.unwrap_or_default();
    let cluster = format!("outbound|{port}||{service}.shop.svc.cluster.local").into_bytes();
    let destination = Destination::from_cluster(cluster, &ClusterDomain::default());
    let (Ok(table), Some(destination), Ok(key)) = (Table::new(config), destination, key.parse())
    else {
        return "broken".into();
    };
    let route = table.find(&key).and_then(|routes| routes.find(&destination));
    let Some(route) = route else { return "baseline".into() };
    let port = route.to_port.map_or(port, std::num::NonZeroU16::get);
    if route.unavailable { "503".into() } else { format!("{}:{port}", route.to.name(&key)) }
}

fn warnings(yaml: &str) -> Vec<String> {
    let report = compiled(yaml).report;
    assert!(!report.refuses(), "{:?}", report.problems);
    report.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn the_oldest_has_the_claim() {
    let young = sandbox("a", 9, "key: k, routes: 'cart: young'");
    let old = sandbox("b", 1, "key: k, routes: 'cart: old'");
    let yaml = young.clone() + &old;
    assert_eq!(way(&yaml, "k", "cart", 80), "old:80");
    let said = warnings(&yaml);
    assert!(
        said.len() == 1 && said[0].contains("shop/a") && said[0].contains("the older shop/b"),
        "{said:?}"
    );
    // What is switched off or over has no claim: the next in age takes its place.
    let off = sandbox("b", 1, "key: k, enabled: 'false', routes: 'cart: old'");
    assert_eq!(way(&(young.clone() + &off), "k", "cart", 80), "young:80");
    let over = sandbox("b", 1, "key: k, ttl: 1d, routes: 'cart: old'");
    assert_eq!(way(&(young.clone() + &over), "k", "cart", 80), "young:80");
    // A fragment that was never applied is younger than all that were.
    let file = "---\nkind: ConfigMap\nmetadata: {name: A, namespace: shop, labels: \
                {skycap.dev/kind: sandbox}}\ndata: {key: k, routes: 'cart: file'}\n";
    assert_eq!(way(&(file.to_owned() + &young), "k", "cart", 80), "young:80");
}

#[test]
fn one_key_in_two_namespaces_is_one_sandbox() {
    let shop = sandbox("k", 2, "routes: 'cart: cart-k'");
    let mall = sandbox("k", 1, "routes: 'cart: mall-k', extends: base").replace(": shop", ": mall");
    let base = sandbox("base", 3, "routes: 'search: search-base'");
    let yaml = shop + &mall + &base;
    assert_eq!(way(&yaml, "k", "cart", 80), "cart-k:80");
    assert_eq!(way(&yaml, "k", "search", 80), "search-base:80");
}

#[test]
fn a_cycle_ends_and_each_key_on_it_is_warned_once() {
    let yaml = sandbox("a", 1, "extends: b")
        + &sandbox("b", 1, "extends: c, routes: 'cart: cart-b'")
        + &sandbox("c", 1, "extends: b, routes: 'search: search-c'")
        + &sandbox("d", 1, "extends: nobody");
    assert_eq!(way(&yaml, "a", "search", 80), "search-c:80");
    let said = warnings(&yaml);
    assert_eq!(
        said.iter().filter(|text| text.contains("leads back to itself")).count(),
        2,
        "{said:?}"
    );
    assert!(said.iter().any(|text| text.contains("has key `nobody`")), "{said:?}");
}

#[test]
fn ports_are_found_from_the_services() {
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
        assert_eq!(way(&yaml, "k", service, port), expected, "{service}:{port}");
    }
    let said = warnings(&yaml);
    assert!(
        said.len() == 1 && said[0].contains("no port 83; say which one with `toPort`"),
        "{said:?}"
    );
}

#[test]
fn a_missing_baseline_is_a_warning() {
    let yaml = sandbox("k", 1, "routes: 'cart: cart-k'") + &service("cart-k", "{port: 80}");
    let said = warnings(&yaml);
    assert!(
        said.len() == 1 && said[0].contains("no Service `cart` in namespace `shop`"),
        "{said:?}"
    );
    assert_eq!(way(&yaml, "k", "cart", 80), "cart-k:80");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The table is a function of what is there, not of the order in which it is read; and what
    /// is printed is taken.
    #[test]
    fn order_changes_nothing(
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
        prop_assert!(Table::from_json(json.as_bytes()).is_ok(), "{}", json);
    }
}
