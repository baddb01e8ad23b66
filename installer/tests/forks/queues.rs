//! A sandbox with queues: what its forks are told, and what is refused.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use skycap::environment::sandbox::{End, Sandbox};

use super::examples::{deployment, of_file};

const CONSUMER: &str = "{containers: [{name: app, image: 'app:1', env: [{name: KAFKA_TOPIC, value: \
                        orders.baseline}, {name: KAFKA_GROUP, valueFrom: {fieldRef: {fieldPath: \
                        metadata.name}}}]}]}";
const NAMES: &str = "topic: KAFKA_TOPIC\\ngroup: KAFKA_GROUP";

/// A queue whose topic has its own name.
fn queue(name: &str, env: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: shop, labels: \
         {{skycap.dev/kind: queue}}}}\ndata: {{kafka: 'bootstrap.servers: kafka:9092', topic: {name}, \
         group: cart, env: \"{env}\"}}\n"
    )
}

fn up(manifests: &str, fields: &str, forks: &str) -> Result<Sandbox, String> {
    let workers = deployment("web", "app: web", CONSUMER);
    of_file(&(workers + manifests), &format!("sandbox: pr-9\n{fields}\nforks: {{{forks}}}\n"))
}

/// The variables of the fork's container.
fn variables(sandbox: &Sandbox) -> BTreeMap<String, Value> {
    let object = serde_json::to_value(&sandbox.forks[0].object).unwrap_or_default();
    let variables = object["spec"]["template"]["spec"]["containers"][0]["env"].as_array().cloned();
    let variables = variables.into_iter().flatten();
    let name = |variable: &Value| variable["name"].as_str().unwrap_or_default().to_owned();
    variables.map(|variable| (name(&variable), variable)).collect()
}

#[test]
fn a_fork_consumes_the_topic_of_its_sandbox() {
    let queues = queue("orders", NAMES) + &queue("payments", "topic: PAYMENTS_TOPIC");
    let sandbox = up(&queues, "queues: [orders, payments]", "web: {}").expect("a sandbox");
    let found = variables(&sandbox);
    for (name, value) in [
        ("KAFKA_TOPIC", "orders.pr-9"),
        // Where the baseline has it from does not matter.
        ("KAFKA_GROUP", "cart-pr-9"),
        ("PAYMENTS_TOPIC", "payments.pr-9"),
    ] {
        assert_eq!(found[name], json!({"name": name, "value": value}));
    }
    let map = serde_json::to_value(sandbox.config_map(true, End::Ttl).expect("a ConfigMap"));
    assert_eq!(map.expect("JSON")["data"]["queues"], "orders, payments");
    let notes: Vec<_> = sandbox.all_notes().collect();
    assert!(notes.len() == 1 && notes[0].contains("`PAYMENTS_TOPIC`"), "{notes:?}");
}

#[test]
fn what_the_file_sets_counts() {
    let forks = "web: {env: {KAFKA_TOPIC: mine}}";
    let sandbox = up(&queue("orders", NAMES), "queues: [orders]", forks).expect("a sandbox");
    assert_eq!(variables(&sandbox)["KAFKA_TOPIC"]["value"], "mine");
    let notes: Vec<_> = sandbox.all_notes().collect();
    assert!(notes.len() == 1 && notes[0].contains("the file sets `KAFKA_TOPIC`"), "{notes:?}");
}

#[test]
fn a_queue_that_the_sandbox_cannot_have_is_refused() {
    let other = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: orders, namespace: shop}\n";
    let malformed = queue("orders", NAMES).replace("topic: orders", "topic: or ders");
    let both = queue("orders", NAMES) + &queue("payments", NAMES);
    for (manifests, fields, expected) in [
        ("", "queues: [orders]", "queue `orders` not found"),
        (other, "queues: [orders]", "queue `orders` not found"),
        (&malformed, "queues: [orders]", "invalid topic `or ders`"),
        (&both, "queues: [orders, payments]", "both set `KAFKA_TOPIC`"),
        (&both, "queues: [orders, orders]", "`orders` is listed twice"),
        (&both, "queues: orders", "expected a list"),
        (&both, "queue: [orders]", "did you mean `queues`?"),
    ] {
        let error = up(manifests, fields, "web: {}").expect_err(expected);
        assert!(error.contains(expected), "{fields}: {error}");
    }
}
