//! The admission policy on a real API server: what it refuses, the compiler refuses too.

mod kubernetes;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kubernetes::{Fixture, run};
use serde_json::{Value, json};
use skycap::{
    desired::istio::PluginKind,
    table::{fragments::Fragment, origin::Origin, settings::Settings},
};

#[test]
fn malformed_fragments_are_refused_at_apply() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        // A policy is in force some time after it is there.
        let bad = config_map("sandbox", "early", json!({"enabled": "maybe"}));
        fixture.until("the policy", async |f| Ok(f.cluster.apply(&bad).await.is_err())).await?;
        for (kind, name, data, refused) in cases() {
            let map = config_map(kind, name, data);
            let answer = fixture.cluster.apply(&map).await;
            let parsed: ConfigMap = serde_json::from_value(map.clone())?;
            let parser = refusal(&parsed);
            match (refused, answer) {
                (None, Ok(())) => anyhow::ensure!(parser.is_none(), "{map}: {parser:?}"),
                (Some(word), Err(error)) => {
                    let text = error.to_string();
                    anyhow::ensure!(text.contains("skycap: ") && text.contains(word), "{text}");
                    anyhow::ensure!(parser.is_some(), "{map}: the parser takes it");
                }
                (_, answer) => anyhow::bail!("{map}: expected {refused:?}, got {answer:?}"),
            }
        }
        // What has no label of skycap's is none of its business.
        fixture
            .apply(&json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "other", "namespace": "shop"},
                "data": {"enabled": "maybe"},
            }))
            .await
    })
}

fn refusal(map: &ConfigMap) -> Option<String> {
    if Settings::is(&Origin::of(map, None)) {
        return Settings::parse(map, None).err().map(|problem| problem.text);
    }
    Fragment::parse(map, None, Timestamp::now())?.err().map(|problem| problem.text)
}

/// Kind, name, data, and for those that are refused a word of the message.
fn cases() -> Vec<(&'static str, &'static str, Value, Option<&'static str>)> {
    let long = "a".repeat(65);
    vec![
        ("sandbox", "pr-1", json!({"routes": "cart: cart-pr-1"}), None),
        ("sandbox", "pr-1", json!({}), None),
        ("sandbox", "pr-1", json!({"key": " PR_1.~ ", "enabled": "false\n", "ttl": "72h"}), None),
        ("sandbox", "pr-1", json!({"expires": "2026-12-24T18:00:00Z", "extends": "base"}), None),
        ("sandbox", "pr-1", json!({"onUnavailable": "fail"}), None),
        ("sandbox", "pr-1", json!({"enabled": "yes"}), Some("data.enabled")),
        ("sandbox", "pr-1", json!({"enabled": ""}), Some("data.enabled")),
        ("sandbox", "pr-1", json!({"route": "cart: cart-pr-1"}), Some("data: expected")),
        ("sandbox", "pr-1", json!({"members": "a"}), Some("data: expected")),
        ("sandbox", "pr-1", json!({"key": "a b"}), Some("data.key")),
        ("sandbox", "pr-1", json!({"key": ""}), Some("data.key")),
        ("sandbox", "pr-1", json!({"key": long}), Some("data.key")),
        ("sandbox", "pr-1", json!({"extends": "a,b"}), Some("data.extends")),
        ("sandbox", "pr-1", json!({"onUnavailable": "503"}), Some("data.onUnavailable")),
        (
            "sandbox",
            "pr-1",
            json!({"ttl": "1h", "expires": "2026-12-24T18:00:00Z"}),
            Some("keep one"),
        ),
        ("sandbox", "pr-1", json!({"expires": "tomorrow"}), Some("data.expires")),
        ("sandbox", "pr-1", json!({"ttl": "soon"}), Some("data.ttl")),
        ("group", "all", json!({"members": "pr-1, pr-2"}), None),
        ("group", "all", json!({"members": ""}), None),
        ("group", "all", json!({"members": "pr-1,, pr-2,"}), None),
        ("group", "all", json!({"members": "pr 1"}), Some("data.members")),
        ("group", "all", json!({"routes": "cart: cart-pr-1"}), Some("data: expected")),
        ("sandboxes", "pr-1", json!({}), Some("skycap.dev/kind")),
    ]
}

fn config_map(kind: &str, name: &str, data: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "shop", "labels": {"skycap.dev/kind": kind}},
        "data": data,
    })
}
