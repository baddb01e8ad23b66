//! Malformed input: what is rejected, which field the problem names, and that everything else still
//! applies.

use jiff::Timestamp;
use skycap::{
    objects::ObjectRef,
    problem::{Problem, Severity},
    table::{
        compile::{Compilation, compile},
        input::Input,
        manifests::Manifests,
    },
};

const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);

/// A valid sandbox, beside whatever else is in the input.
const GOOD: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good, namespace: shop, \
                    labels: {skycap.dev/kind: sandbox}}\ndata: {routes: 'cart: cart-good'}\n";

fn compiled(yaml: &str) -> Compilation {
    let mut manifests = Manifests::default();
    manifests.add(yaml, "file.yaml");
    compile(&Input::new(&manifests, NOW), NOW)
}

/// A ConfigMap of this kind, and [`GOOD`].
fn config_map(name: &str, kind: &str, data: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: shop, labels: \
         {{skycap.dev/kind: {kind}}}}}\ndata:\n{data}\n---\n{GOOD}"
    )
}

#[test]
fn a_rejected_fragment_names_its_field_and_the_others_still_apply() {
    for (kind, data, field, expected) in REJECTED {
        let Compilation { config, report, .. } = compiled(&config_map("bad", kind, data));
        let problem = only_problem(data, &report.problems);
        let bad = ObjectRef::config_map("shop", "bad");
        let place = (problem.object.as_deref(), problem.source.as_deref());
        assert_eq!(place, (Some(&bad), Some("file.yaml:1")), "{data}");
        assert_eq!(problem.severity, Severity::Refused, "{data}");
        assert_eq!(problem.field, *field, "{data}: {problem}");
        assert!(problem.text.contains(expected), "{data}: {problem}");
        let keys: Vec<_> = config.iter().flat_map(|config| config.keys.iter()).collect();
        assert_eq!(keys, [("good", &[0][..])], "{data}");
    }
}

#[test]
fn after_invalid_yaml_the_other_documents_still_apply() {
    for (document, expected) in [("a: [}", "line 3 column "), ("- a", "not a Kubernetes object")] {
        let Compilation { config, report, .. } =
            compiled(&format!("# first\n---\n{document}\n---\n{GOOD}"));
        assert_eq!(config.map(|config| config.keys.len()), Some(1), "{document}");
        let problem = only_problem(document, &report.problems);
        let place = (problem.object.as_deref(), problem.source.as_deref());
        assert_eq!(place, (None, Some("file.yaml:3")), "{document}");
        assert!(problem.text.contains(expected), "{document}: {problem}");
    }
}

#[test]
fn a_name_that_is_not_a_routing_key_asks_for_data_key() {
    let yaml = config_map(&"a".repeat(65), "sandbox", "  routes: 'a: b'");
    let report = compiled(&yaml).report;
    let problem = only_problem(&yaml, &report.problems);
    assert_eq!(problem.field, "metadata.name");
    assert!(problem.text.contains("choose a key with `data.key`"), "{problem}");
}

#[test]
fn an_invalid_namespace_is_rejected() {
    let yaml = config_map("a", "sandbox", "  routes: 'a: b'").replacen(": shop", ": Shop", 1);
    let report = compiled(&yaml).report;
    let problem = only_problem(&yaml, &report.problems);
    assert_eq!(problem.field, "metadata.namespace");
    assert!(problem.text.contains("`Shop`"), "{problem}");
}

#[test]
fn invalid_settings_compile_to_no_table() {
    for (data, field) in [
        ("enabled: 'flase'", "data.enabled"),
        ("dispatch: magic", "data.dispatch"),
        ("carriers: '[]'", "data.carriers"),
        ("carriers: baggage", "data.carriers"),
        ("carriers: '[{baggages: a}]'", "data.carriers"),
        ("carriers: '[{baggage: a, inject: true}]'", "data.carriers"),
        ("onUnavailable: maybe", "data.onUnavailable"),
        ("explain: loud", "data.explain"),
        ("clusterDomain: 'a..b'", "data.clusterDomain"),
        ("mesh: istio,consul", "data.mesh"),
        ("namespaces: 'a,b c'", "data.namespaces"),
        ("colour: blue", "data.colour"),
    ] {
        // The label does not matter, not even a wrong one.
        for label in ["", ", labels: {skycap.dev/kind: sandbox}"] {
            let settings = format!(
                "kind: ConfigMap\nmetadata: {{name: skycap, namespace: skycap-system{label}}}\n\
                 data:\n  {data}\n---\n{GOOD}"
            );
            let Compilation { config, report, .. } = compiled(&settings);
            assert!(config.is_none() && !report.compiled, "{data}");
            let problem = only_problem(data, &report.problems);
            let found = (problem.severity, problem.field.as_str());
            assert_eq!(found, (Severity::Refused, field), "{data}");
        }
    }
}

#[test]
fn other_objects_are_ignored() {
    let others = "kind: ConfigMap\nmetadata: {name: a}\ndata: {colour: blue}\n---\nkind: Pod\n---\n\n---\n\
         kind: ConfigMap\nmetadata: {name: skycap, namespace: shop, labels: {skycap.dev/kind: \
         settings}}\ndata: {colour: blue}\n---\n";
    let Compilation { config, report, .. } = compiled(&format!("{others}{GOOD}"));
    assert_eq!(config.map(|config| config.keys.len()), Some(1));
    assert_eq!(report.problems, []);
}

#[test]
fn the_second_of_two_config_maps_with_one_name_is_rejected() {
    let Compilation { config, report, .. } = compiled(&format!("{GOOD}---\n{GOOD}"));
    let problem = only_problem(GOOD, &report.problems);
    assert_eq!(problem.severity, Severity::Refused);
    let place = (problem.field.as_str(), problem.source.as_deref());
    assert_eq!(place, ("metadata.name", Some("file.yaml:6")), "{problem}");
    assert_eq!(config.map(|config| config.keys.len()), Some(1), "the first still applies");
}

#[test]
fn of_two_settings_neither_counts() {
    let settings = "kind: ConfigMap\nmetadata: {name: skycap, namespace: skycap-system}\n";
    let Compilation { config, report, .. } = compiled(&format!("{settings}---\n{settings}"));
    assert_eq!(config, None);
    let problem = only_problem(settings, &report.problems);
    assert_eq!((problem.severity, problem.field.as_str()), (Severity::Refused, "metadata.name"));
}

/// The only problem of `input`.
fn only_problem<'a>(input: &str, problems: &'a [Problem]) -> &'a Problem {
    assert_eq!(problems.len(), 1, "{input}: {problems:?}");
    &problems[0]
}

/// Fragments that are rejected: the kind, the data, the field of the problem, a part of its text.
const REJECTED: &[(&str, &str, &str, &str)] = &[
    ("sandbox", "  colour: blue", "data.colour", "`colour`: expected one of `key`"),
    ("sandbox", "  members: a", "data.members", "expected one of"),
    ("group", "  routes: 'a: b'", "data.routes", "`members`"),
    ("group", "  extends: a", "data.extends", "`members`"),
    ("flock", "  members: a", "metadata.labels.skycap.dev/kind", "`sandbox`, `group`"),
    ("sandbox", "  key: a b", "data.key", "1 to 64 of"),
    ("sandbox", "  key: ''", "data.key", "empty routing key"),
    ("sandbox", "  extends: a/b", "data.extends", "invalid routing key `a/b`"),
    ("group", "  members: a, b c", "data.members", "invalid routing key `b c`"),
    ("sandbox", "  enabled: 'yes'", "data.enabled", "`yes`: expected `\"true\"` or `\"false\"`"),
    ("sandbox", "  onUnavailable: wait", "data.onUnavailable", "`baseline` or `fail`"),
    ("sandbox", "  ttl: soon", "data.ttl", "such as `72h`"),
    ("sandbox", "  ttl: -1h", "data.ttl", "such as `72h`"),
    ("sandbox", "  expires: tomorrow", "data.expires", "RFC 3339"),
    ("sandbox", "  ttl: 1h\n  expires: '2026-12-24T18:00:00Z'", "data.ttl", "keep one"),
    ("sandbox", "  routes: cart", "data.routes", "such as `cart: cart-pr-1`"),
    ("sandbox", "  routes: '[}'", "data.routes", "such as `cart: cart-pr-1`"),
    ("sandbox", "  routes: \"cart: a\\ncart: b\"", "data.routes", "duplicate"),
    ("sandbox", "  routes: '[a]'", "data.routes", "not a map"),
    ("sandbox", "  routes: 'cart.mall: b'", "data.routes", "`cart.mall` is in another namespace"),
    ("sandbox", "  routes: 'cart: mall/b'", "data.routes", "`mall/b` is in another namespace"),
    ("sandbox", "  routes: 'Cart: b'", "data.routes", "a DNS label"),
    ("sandbox", "  routes: 'cart: 7'", "data.routes", "`{to, port, toPort}`"),
    ("sandbox", "  routes: 'cart: {to: 7}'", "data.routes", "invalid target `7`"),
    ("sandbox", "  routes: 'cart: {port: 80}'", "data.routes", "missing field `to`"),
    ("sandbox", "  routes: 'cart: {to: b, port: 0}'", "data.routes", "1 to 65535"),
    ("sandbox", "  routes: 'cart: {to: b, toPort: http}'", "data.routes", "1 to 65535"),
    ("sandbox", "  routes: 'cart: {to: b, weight: 1}'", "data.routes", "unknown field `weight`"),
    ("sandbox", "  enabled: true", "", "expected a string"),
];
