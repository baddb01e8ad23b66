//! Queues: what is rejected, and which sandbox gets the messages of a key.

#[path = "../attacks/compiled.rs"]
mod compiled;
mod data;
mod law;

use serde_json::{Value, json};
use skycap::{
    problem::Severity,
    table::{availability::OnUnavailable, queue::rules::Rules},
};

use self::compiled::{NOW, compiled, fragment};

fn queue(namespace: &str, name: &str, age: i64, topic: &str) -> Value {
    let kafka = "bootstrap.servers: kafka:9092";
    fragment(
        "queue",
        namespace,
        name,
        age,
        &json!({"kafka": kafka, "topic": topic, "group": "cart"}),
    )
}

fn sandbox(name: &str, data: &Value) -> Value {
    fragment("sandbox", "shop", name, 9, data)
}

fn rules(objects: &[Value], namespace: &str, name: &str) -> Option<Rules> {
    compiled(objects).queues?.get(&(namespace.to_owned(), name.to_owned())).cloned()
}

/// The keys of a queue, each with its sandbox.
fn keys(rules: &Rules) -> Vec<(String, &str)> {
    rules.keys.iter().map(|(key, sandbox)| (key.to_string(), sandbox.as_str())).collect()
}

#[test]
fn a_sandbox_whose_name_cannot_be_part_of_a_topic_has_no_queue() {
    for (name, queues, expected) in [
        ("baseline", "orders", "cannot have queues"),
        ("pr.1", "orders", "cannot have queues"),
        ("pr-1", "orders, orders", "listed twice"),
        ("pr-1", "or ders", "DNS label"),
        ("pr-1", &(0..17).map(|n| format!("q{n},")).collect::<String>(), "17 queues"),
    ] {
        let report = compiled(&[sandbox(name, &json!({"queues": queues}))]).report;
        let texts: Vec<_> = report.problems.iter().map(|problem| &problem.text).collect();
        assert!(texts.len() == 1 && texts[0].contains(expected), "{name} {queues}: {texts:?}");
        assert_eq!(report.problems[0].severity, Severity::Refused);
    }
}

#[test]
fn the_rules_list_who_keeps_a_topic_and_whose_messages_are_whose() {
    let ended = (NOW - jiff::SignedDuration::from_secs(1)).to_string();
    let objects = [
        queue("shop", "orders", 20, "orders"),
        sandbox("pr-1", &json!({"queues": "orders", "onUnavailable": "fail", "key": "one"})),
        sandbox("pr-2", &json!({"queues": "orders", "enabled": "false", "unread": "requeue"})),
        sandbox("pr-3", &json!({"queues": "orders", "expires": ended})),
        sandbox("pr-4", &json!({"routes": "cart: cart-pr-4", "extends": "one"})),
        fragment("group", "mall", "release", 1, &json!({"members": "pr-2, pr-4"})),
        // A queue of another namespace is another one, also with the same name.
        fragment("sandbox", "mall", "pr-5", 1, &json!({"queues": "orders"})),
    ];
    let found = rules(&objects, "shop", "orders").expect("the queue exists");
    let wanted = [("one", "pr-1"), ("pr-4", "pr-1"), ("release", "pr-1")];
    assert_eq!(keys(&found), wanted.map(|(key, name)| (key.to_owned(), name)));
    let json = serde_json::to_value(&found).expect("rules are JSON");
    let wanted = json!({
        "enabled": true,
        "carriers": [{"baggage": "sandbox"}],
        "keys": {"one": "pr-1", "pr-4": "pr-1", "release": "pr-1"},
        "sandboxes": {
            "pr-1": {"onUnavailable": "fail"},
            "pr-2": {"onUnavailable": "baseline", "unread": "requeue"},
        },
    });
    assert_eq!(json, wanted);
    assert_eq!(serde_json::from_value::<Rules>(json).ok(), Some(found));
    let report = compiled(&objects).report;
    let missing = report.problems.iter().find(|problem| problem.field == "data.queues");
    let missing = missing.expect("mall has no queue");
    assert_eq!(missing.severity, Severity::Warning);
    assert!(missing.text.contains("`orders` does not exist in namespace `mall`"), "{missing}");
}

#[test]
fn a_rejected_queue_and_the_sandbox_that_has_it_are_in_the_report() {
    let objects = [
        queue("shop", "orders", 20, "or ders"),
        queue("shop", "payments", 20, "payments"),
        sandbox("pr-1", &json!({"queues": "orders, payments"})),
    ];
    let report = compiled(&objects).report;
    let problems: Vec<_> =
        report.problems.iter().map(|one| (one.severity, one.to_string())).collect();
    let [(Severity::Refused, of_queue), (Severity::Warning, of_sandbox)] = &problems[..] else {
        panic!("{problems:?}");
    };
    assert!(
        of_queue.contains("ConfigMap shop/orders") && of_queue.contains("`or ders`"),
        "{of_queue}"
    );
    assert!(of_sandbox.contains("queue `orders` is rejected in namespace `shop`"), "{of_sandbox}");
    assert_eq!(rules(&objects, "shop", "payments").map(|rules| rules.keys.len()), Some(1));
}

#[test]
fn the_kill_switch_takes_all_keys_and_no_topic() {
    let settings = |data| fragment("settings", "skycap-system", "skycap", 99, &data);
    let mut objects = vec![
        queue("shop", "orders", 20, "orders"),
        sandbox("pr-1", &json!({"queues": "orders"})),
        settings(json!({"enabled": "false", "onUnavailable": "fail"})),
    ];
    let found = rules(&objects, "shop", "orders").expect("the queue exists");
    assert!(!found.enabled && found.keys.is_empty());
    assert_eq!(found.sandboxes["pr-1"].on_unavailable, OnUnavailable::Fail);
    objects[2] = settings(json!({"enabled": "flase"}));
    assert_eq!(compiled(&objects).queues, None, "malformed settings keep the last rules");
}

/// Two queues with one topic would move each message twice.
#[test]
fn of_two_queues_with_one_topic_the_older_one_counts() {
    for topic in ["orders", "orders.baseline"] {
        let objects = [
            queue("shop", "orders", 20, "orders"),
            queue("mall", "orders", 10, topic),
            sandbox("pr-1", &json!({"queues": "orders"})),
        ];
        let queues = compiled(&objects).queues.unwrap_or_default();
        assert_eq!(queues.len(), 1, "{topic}");
        let report = compiled(&objects).report;
        let problem = &report.problems[0];
        assert!(problem.text.contains("older queue shop/orders"), "{problem}");
    }
    let objects = [
        queue("shop", "orders", 20, "orders"),
        queue("shop", "failed", 10, "orders.dlq"),
        sandbox("dlq", &json!({"queues": "orders"})),
        sandbox("pr-1", &json!({"queues": "failed"})),
    ];
    let found = rules(&objects, "shop", "orders").expect("the queue exists");
    assert_eq!(
        (keys(&found), found.sandboxes.len()),
        (Vec::new(), 0),
        "the topic is a queue's own"
    );
    assert_eq!(rules(&objects, "shop", "failed").map(|rules| rules.keys.len()), Some(1));
}

/// A namespace that fills the rules pays for it, as for the table.
#[test]
fn groups_that_multiply_rules_pay_for_them() {
    let mut objects: Vec<_> =
        (0..64).map(|n| queue("attacker", &format!("q{n}"), 20, &format!("t{n}"))).collect();
    for n in 0..4 {
        let queues: Vec<_> = (n * 16..n * 16 + 16).map(|n| format!("q{n}")).collect();
        let data = json!({"queues": queues.join(",")});
        objects.push(fragment("sandbox", "attacker", &format!("s{n}"), 9, &data));
    }
    objects.extend((0..3_000).map(|n| {
        fragment("group", "attacker", &format!("g{n}"), 8, &json!({"members": "s0,s1,s2,s3"}))
    }));
    objects.extend([
        queue("shop", "orders", 2, "orders"),
        sandbox("pr-1", &json!({"queues": "orders"})),
    ]);
    let queues = compiled(&objects).queues.unwrap_or_default();
    let bytes: usize = queues.values().map(|rules| json!(rules.keys).to_string().len()).sum();
    assert!(bytes < 1_300_000, "{bytes} bytes of rules");
    assert_eq!(queues[&("shop".into(), "orders".into())].keys.len(), 1, "others lose nothing");
}
