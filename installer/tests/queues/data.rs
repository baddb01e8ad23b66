//! The data of a queue.

use std::collections::BTreeMap;

use skycap::{
    problem::InvalidField,
    table::queue::{QueueConfig, Unread},
};

/// The data of a queue: a valid one, with these entries instead of its own.
fn data(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    let valid =
        [("kafka", "bootstrap.servers: kafka:9092"), ("topic", "orders"), ("group", "cart")];
    let entries = valid.iter().chain(entries);
    entries.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_queue_says_what_its_forks_consume() -> Result<(), InvalidField> {
    let env = "{topic: KAFKA_TOPIC, group: KAFKA_GROUP}";
    let config = QueueConfig::parse(data(&[("env", env), ("unread", "requeue")]))?;
    assert_eq!(config.baseline_topic(), "orders.baseline");
    let variables: Vec<_> = config.variables("pr-1").collect();
    let wanted = [("KAFKA_TOPIC", "orders.pr-1"), ("KAFKA_GROUP", "cart-pr-1")];
    assert_eq!(variables, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(config.unread, Unread::Requeue);
    // The longest topic and the longest name of a sandbox fit into Kafka's 249 bytes.
    let longest = QueueConfig::parse(data(&[("topic", &"t".repeat(185))]))?;
    assert_eq!(longest.topic_of(&"s".repeat(63)).len(), 249);
    Ok(())
}

#[test]
fn a_malformed_queue_is_rejected_with_its_field() {
    let long = "t".repeat(186);
    for (field, value, expected) in [
        ("kafka", "[}", "invalid YAML"),
        ("kafka", "", "missing `bootstrap.servers`"),
        ("kafka", "{}", "missing `bootstrap.servers`"),
        ("kafka", "{bootstrap.servers: []}", "not a text"),
        ("kafka", "{bootstrap.servers: a, sasl.password: b}", "put it into a Secret"),
        ("kafka", "{bootstrap.servers: a, ssl.key.pem: b}", "`ssl.key.pem` is a credential"),
        ("kafka", "{bootstrap.servers: a, group.id: b}", "set by `skycap-queue` itself"),
        ("kafka", "{bootstrap.servers: a, plugin.library.paths: b}", "run a program"),
        ("kafka", "{bootstrap.servers: a, 'Ssl ca': b}", "invalid property `Ssl ca`"),
        ("topic", "or ders", "invalid topic `or ders`"),
        ("topic", "..", "invalid topic `..`"),
        ("topic", &long, "1 to 185"),
        ("group", "ca rt", "invalid group `ca rt`"),
        ("secret", "shop/kafka", "invalid Secret `shop/kafka`"),
        ("env", "{topics: A}", "unknown field `topics`"),
        ("env", "{topic: 1A}", "invalid variable `1A`"),
        ("env", "{topic: A, group: A}", "`A` is named twice"),
        ("unread", "drop", "`report` or `requeue`"),
        ("topics", "a", "unknown key `topics`: expected one of `kafka`"),
    ] {
        let error = QueueConfig::parse(data(&[(field, value)])).expect_err(value);
        assert_eq!(error.field, format!("data.{field}"), "{value}");
        assert!(error.text.contains(expected), "{value}: {error}");
    }
    let error = QueueConfig::parse(BTreeMap::new()).expect_err("nothing");
    assert_eq!(error.to_string(), "data.kafka: missing `kafka`");
}
