//! Malformed input: what is refused, the field that is named, and that nothing else suffers.

use jiff::Timestamp;
use skycap::{
    objects::ObjectRef,
    problem::Severity,
    table::{
        compile::{Compilation, compile},
        input::Input,
        manifests::Manifests,
    },
};

const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);

/// A sandbox that is good, beside whatever else is in the input.
const GOOD: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good, namespace: shop, \
                    labels: {skycap.dev/kind: sandbox}}\ndata: {routes: 'cart: cart-good'}\n";

fn compiled(yaml: &str) -> Compilation {
    let mut manifests = Manifests::default();
    manifests.add(yaml, "file.yaml");
    compile(&Input::new(&manifests, NOW), NOW)
}

fn config_map(name: &str, kind: &str, data: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: shop, labels: \
         {{skycap.dev/kind: {kind}}}}}\ndata:\n{data}\n---\n{GOOD}"
    )
}

#[test]
fn each_refusal_names_its_field_and_hurts_no_other() {
    for (kind, data, field, expected) in [
        ("sandbox", "  colour: blue", "data.colour", "expected one of `key`"),
        ("sandbox", "  members: a", "data.members", "expected one of"),
        ("group", "  routes: 'a: b'", "data.routes", "`members`"),
        ("group", "  extends: a", "data.extends", "`members`"),
        ("flock", "  members: a", "metadata.labels.skycap.dev/kind", "`sandbox`, `group`"),
        ("sandbox", "  key: a b", "data.key", "1 to 64 of"),
        ("sandbox", "  key: ''", "data.key", "is empty"),
        ("sandbox", "  extends: a/b", "data.extends", "no routing key"),
        ("group", "  members: a, b c", "data.members", "`b c` is no routing key"),
        ("sandbox", "  enabled: 'yes'", "data.enabled", "`\"true\"` or `\"false\"`"),
        ("sandbox", "  onUnavailable: wait", "data.onUnavailable", "`baseline` or `fail`"),
        ("sandbox", "  ttl: soon", "data.ttl", "such as `72h`"),
        ("sandbox", "  ttl: -1h", "data.ttl", "such as `72h`"),
        ("sandbox", "  expires: tomorrow", "data.expires", "RFC 3339"),
        ("sandbox", "  ttl: 1h\n  expires: '2026-12-24T18:00:00Z'", "data.ttl", "keep one"),
        ("sandbox", "  routes: cart", "data.routes", "such as `cart: cart-pr-1`"),
        ("sandbox", "  routes: '[}'", "data.routes", "such as `cart: cart-pr-1`"),
        ("sandbox", "  routes: \"cart: a\\ncart: b\"", "data.routes", "duplicate"),
        ("sandbox", "  routes: 'cart.mall: b'", "data.routes", "Services of its own"),
        ("sandbox", "  routes: 'cart: mall/b'", "data.routes", "Services of its own"),
        ("sandbox", "  routes: 'Cart: b'", "data.routes", "a DNS label"),
        ("sandbox", "  routes: 'cart: 7'", "data.routes", "`{to, port, toPort}`"),
        ("sandbox", "  routes: 'cart: {port: 80}'", "data.routes", "`to` is missing"),
        ("sandbox", "  routes: 'cart: {to: b, port: 0}'", "data.routes", "1 to 65535"),
        ("sandbox", "  routes: 'cart: {to: b, toPort: http}'", "data.routes", "1 to 65535"),
        ("sandbox", "  routes: 'cart: {to: b, weight: 1}'", "data.routes", "`weight`"),
        ("sandbox", "  enabled: true", "", "expected a string"),
    ] {
        let Compilation { config, report, .. } = compiled(&config_map("bad", kind, data));
        let refused: Vec<_> =
            report.problems.iter().filter(|p| p.severity == Severity::Refused).collect();
        let [problem] = refused[..] else { panic!("`{data}`: {:?}", report.problems) };
        let bad = ObjectRef::config_map("shop", "bad");
        let place = (problem.object.as_deref(), problem.source.as_deref());
        assert_eq!(place, (Some(&bad), Some("file.yaml:1")), "{data}");
        assert_eq!(problem.field, field, "{data}: {problem}");
        assert!(problem.text.contains(expected), "{data}: {problem}");
        let keys: Vec<_> = config.iter().flat_map(|config| config.keys.iter()).collect();
        assert_eq!(keys, [("good", &[0][..])], "{data}");
    }
}

#[test]
fn a_document_that_is_no_yaml_hurts_no_other() {
    let Compilation { config, report, .. } =
        compiled(&format!("# first\n---\na: [}}\n---\n{GOOD}"));
    assert_eq!(config.map(|config| config.keys.len()), Some(1));
    let [problem] = &report.problems[..] else { panic!("{:?}", report.problems) };
    assert_eq!(problem.source.as_deref(), Some("file.yaml:3"));
    assert!(problem.text.contains("line 3 column "), "{problem}");
}

#[test]
fn a_name_that_is_no_key_asks_for_one() {
    let yaml = config_map("\"no key\"", "sandbox", "  enabled: 'true'");
    let said = compiled(&yaml).report.problems[0].to_string();
    assert!(
        said.contains("metadata.name") && said.contains("choose a key with `data.key`"),
        "{said}"
    );
}

#[test]
fn a_namespace_that_cannot_be_is_refused() {
    let yaml = config_map("a", "sandbox", "  routes: 'a: b'").replacen(": shop", ": Shop", 1);
    let said = compiled(&yaml).report.problems[0].to_string();
    assert!(
        said.contains("metadata.namespace: invalid name `Shop`: expected a DNS label"),
        "{said}"
    );
}

#[test]
fn bad_settings_compile_to_nothing() {
    for (data, field) in [
        ("enabled: 'flase'", "data.enabled"),
        ("dispatch: magic", "data.dispatch"),
        ("carriers: '[]'", "data.carriers"),
        ("carriers: '[{baggages: a}]'", "data.carriers"),
        ("carriers: '[{baggage: a, inject: true}]'", "data.carriers"),
        ("onUnavailable: maybe", "data.onUnavailable"),
        ("explain: loud", "data.explain"),
        ("clusterDomain: 'a..b'", "data.clusterDomain"),
        ("colour: blue", "data.colour"),
    ] {
        let settings = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: skycap, namespace: skycap-system}}\n\
             data:\n  {data}\n---\n{GOOD}"
        );
        let Compilation { config, report, .. } = compiled(&settings);
        assert!(config.is_none() && !report.compiled && report.refuses(), "{data}");
        assert_eq!(report.problems[0].field, field, "{data}");
    }
}

#[test]
fn what_is_not_skycaps_is_passed_over() {
    let others =
        "kind: ConfigMap\nmetadata: {name: a}\ndata: {colour: blue}\n---\nkind: Pod\n---\n\n---\n";
    let Compilation { config, report, .. } = compiled(&format!("{others}{GOOD}"));
    assert_eq!(config.map(|config| config.keys.len()), Some(1));
    assert_eq!(report.problems, []);
}

#[test]
fn one_config_map_twice_is_refused() {
    let Compilation { report, .. } = compiled(&format!("{GOOD}---\n{GOOD}"));
    assert!(report.refuses(), "{report:?}");
}
