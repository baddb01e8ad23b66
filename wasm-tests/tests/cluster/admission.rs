//! The admission policy on a real API server: the parser rejects what it rejects.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use skycap::{
    desired::istio::PluginKind,
    environment::resource::Resource,
    table::{
        fragments::Fragment, limits::FRAGMENT_BYTES, queue::Queue, role::Role, settings::Settings,
    },
};
use skycap_tests::fixture::{Fixture, manifests::fragment, run};

#[test]
fn malformed_fragments_are_rejected_at_apply() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        // The API server takes a moment until it enforces a new policy.
        let bad = fragment("sandbox", "early", json!({"enabled": "maybe"}));
        let is_enforced = async |fixture: &Fixture| match fixture.cluster.apply(&bad).await {
            Ok(()) => Ok(false),
            Err(error) => Ok(error.to_string().contains("skycap: data.enabled")),
        };
        fixture.until("the policy is enforced", is_enforced).await?;
        for (kind, name, data, rejection) in cases() {
            let map = fragment(kind, name, data);
            let answer = fixture.cluster.apply(&map).await;
            let parsed: ConfigMap = serde_json::from_value(map.clone())?;
            let parser = rejection_of(&parsed);
            match (rejection, answer) {
                (None, Ok(())) => anyhow::ensure!(parser.is_none(), "{map}: {parser:?}"),
                (Some(word), Err(error)) => {
                    let text = error.to_string();
                    anyhow::ensure!(text.contains("skycap: ") && text.contains(word), "{text}");
                    anyhow::ensure!(parser.is_some(), "{map}: the parser accepts it");
                }
                (_, answer) => anyhow::bail!("{map}: expected {rejection:?}, got {answer:?}"),
            }
        }
        // A ConfigMap without skycap's label is not checked.
        let mut other = fragment("sandbox", "other", json!({"enabled": "maybe"}));
        other["metadata"]["labels"] = json!({});
        fixture.apply(&other).await
    })
}

fn rejection_of(map: &ConfigMap) -> Option<String> {
    if Role::of(map) == Some(Role::Settings) {
        return Settings::parse(map, None).err().map(|rejected| rejected.problem.text);
    }
    if Role::of(map) == Some(Role::Queue) {
        return Queue::parse(map, None).err().map(|problem| problem.text);
    }
    if let Some(parsed) = Fragment::parse(map, None, Timestamp::now()) {
        return parsed.err().map(|problem| problem.text);
    }
    let map = serde_json::from_value(json!(map)).ok()?;
    Resource::parse(&map).err().map(|invalid| invalid.to_string())
}

/// The data of a resource with a Pod, and with this.
fn resource(more: Value) -> Value {
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: '${name}'}\nspec: {}\n";
    let mut data = json!({"manifest": manifest, "ready": "pod/${name}"});
    data.as_object_mut()
        .into_iter()
        .for_each(|data| data.extend(more.as_object().cloned().unwrap_or_default()));
    data
}

/// The data of a queue, with these fields too.
fn queue(fields: &Value) -> Value {
    let mut data =
        json!({"kafka": "bootstrap.servers: kafka:9092", "topic": "orders", "group": "cart"});
    if let (Value::Object(data), Value::Object(fields)) = (&mut data, fields.clone()) {
        data.extend(fields);
    }
    data
}

/// Kind, name and data; of a malformed one, also a part of the message.
fn cases() -> Vec<(&'static str, &'static str, Value, Option<&'static str>)> {
    let long = "a".repeat(65);
    let members = |count: usize| vec!["a"; count].join(", ");
    // `routes` and a comment of as many bytes as are left.
    let data = |bytes: usize| json!({"routes": format!("#{}", "ü".repeat((bytes - 7) / 2))});
    vec![
        ("sandbox", "pr-1", json!({"routes": "cart: cart-pr-1"}), None),
        ("sandbox", "pr-1", json!({}), None),
        ("sandbox", "pr-1", json!({"key": " PR_1.~ ", "enabled": "false\n", "ttl": "72h"}), None),
        ("sandbox", "pr-1", json!({"expires": "2026-12-24T18:00:00Z", "extends": "base"}), None),
        ("sandbox", "pr-1", json!({"onUnavailable": "fail"}), None),
        ("sandbox", "pr-1", json!({"enabled": "yes"}), Some("data.enabled")),
        ("sandbox", "pr-1", json!({"enabled": ""}), Some("data.enabled")),
        ("sandbox", "pr-1", json!({"route": "cart: cart-pr-1"}), Some("data: ")),
        ("sandbox", "pr-1", json!({"members": "a"}), Some("data: ")),
        ("sandbox", "pr-1", json!({"key": "a b"}), Some("data.key")),
        ("sandbox", "pr-1", json!({"key": ""}), Some("data.key")),
        ("sandbox", "pr-1", json!({"key": long}), Some("data.key")),
        ("sandbox", "pr-1", json!({"extends": "a,b"}), Some("data.extends")),
        ("sandbox", "pr-1", json!({"onUnavailable": "503"}), Some("data.onUnavailable")),
        (
            "sandbox",
            "pr-1",
            json!({"ttl": "1h", "expires": "2026-12-24T18:00:00Z"}),
            Some("data.ttl"),
        ),
        ("sandbox", "pr-1", json!({"expires": "tomorrow"}), Some("data.expires")),
        ("sandbox", "pr-1", json!({"ttl": "soon"}), Some("data.ttl")),
        ("group", "all", json!({"members": "pr-1, pr-2"}), None),
        ("group", "all", json!({"members": ""}), None),
        ("group", "all", json!({"members": "pr-1,, pr-2,"}), None),
        ("group", "all", json!({"members": "pr 1"}), Some("data.members")),
        ("group", "all", json!({"members": members(64)}), None),
        ("group", "all", json!({"members": members(65)}), Some("data.members")),
        ("sandbox", "large", data(FRAGMENT_BYTES - 1), None),
        ("sandbox", "large", data(FRAGMENT_BYTES + 1), Some("data: too large")),
        ("group", "all", json!({"routes": "cart: cart-pr-1"}), Some("data: ")),
        ("sandbox", "pr-1", json!({"queues": "orders, payments", "unread": "requeue"}), None),
        ("sandbox", "pr-1", json!({"unread": "drop"}), Some("data.unread")),
        ("queue", "orders", queue(&json!({"env": "topic: KAFKA_TOPIC"})), None),
        ("queue", "orders", queue(&json!({"unread": "drop"})), Some("data.unread")),
        ("queue", "orders", queue(&json!({"password": "a"})), Some("data: unknown key")),
        ("queue", "orders", json!({"topic": "orders"}), Some("data: missing key")),
        ("resource", "orders-db", resource(json!({})), None),
        ("resource", "orders-db", resource(json!({"env": "A: b"})), None),
        ("resource", "orders-db", json!({"ready": "pod/${name}"}), Some("data: missing key")),
        ("resource", "orders-db", resource(json!({"routes": ""})), Some("data: unknown key")),
        ("sandboxes", "pr-1", json!({}), Some("skycap.dev/kind")),
    ]
}
