//! The queues of a sandbox from `up` to `down`, as the splitter of each queue sees them.

use std::fs;

use anyhow::Context as _;
use serde_json::{Value, json};
use skycap::{
    desired::istio::PluginKind,
    objects::ObjectRef,
    observed::api,
    table::queue::{Unread, rules::Rules},
};
use skycap_tests::{
    cluster::Controller,
    fixture::{Fixture, manifests::fragment, run},
};

use super::{Client, client::tag};
use crate::rights::shop::workload;

#[test]
fn up_and_down_say_whose_messages_are_whose() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        fixture.apply(&workload("Deployment", "cart")).await?;
        let client = Client::of(fixture, "shop").await?;
        for topic in ["orders", "payments"] {
            let env = "{topic: KAFKA_TOPIC, group: KAFKA_GROUP}";
            let kafka = "bootstrap.servers: kafka:9092";
            let data = json!({"kafka": kafka, "topic": topic, "group": "cart", "env": env});
            fixture.apply(&fragment("queue", topic, data)).await?;
        }
        for (queue, other) in [("orders", "payments"), ("payments", "orders")] {
            let plan = up(fixture, &format!("[{queue}]"), 0).await?;
            let topic = format!("KAFKA_TOPIC={queue}.pr-9");
            anyhow::ensure!(plan.contains(&topic), "{plan}");
            anyhow::ensure!(fork_topic(fixture).await? == format!("{queue}.pr-9"), "{plan}");
            has_sandbox(fixture, &controller, &client, queue, true).await?;
            has_sandbox(fixture, &controller, &client, other, false).await?;
        }
        let refused = up(fixture, "[missing]", 1).await?;
        anyhow::ensure!(refused.contains("queue `missing` not found"), "{refused}");
        anyhow::ensure!(fork_topic(fixture).await? == "payments.pr-9", "something was changed");
        down_is_heard(fixture, &controller, &client).await
    })
}

/// Runs `up` with these queues, which must exit with `code`. Returns what it says.
async fn up(fixture: &Fixture, queues: &str, code: i32) -> anyhow::Result<String> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("skycap.yaml");
    let forks = "forks: {cart: {image: 'cart:new'}}";
    fs::write(&file, format!("sandbox: pr-9\nnamespace: shop\n{forks}\nqueues: {queues}\n"))?;
    let file = file.display().to_string();
    fixture.skycap_fails(&["up", "-f", &file, "--no-wait"], code).await
}

/// The topic that the fork is told to consume.
async fn fork_topic(fixture: &Fixture) -> anyhow::Result<String> {
    let reference = ObjectRef::new("apps/v1", "Deployment", "shop", "cart-pr-9");
    let fork = api::api(&fixture.cluster.client, &reference).get("cart-pr-9").await?;
    let env = fork.data.pointer("/spec/template/spec/containers/0/env").and_then(Value::as_array);
    let topic = env.into_iter().flatten().find(|variable| variable["name"] == "KAFKA_TOPIC");
    let topic = topic.and_then(|topic| topic["value"].as_str());
    topic.map(str::to_owned).context("the fork has no KAFKA_TOPIC")
}

/// The rules of a queue have the sandbox and its key, or neither.
async fn has_sandbox(
    fixture: &Fixture,
    controller: &Controller,
    client: &Client,
    queue: &str,
    expected: bool,
) -> anyhow::Result<()> {
    let holds = async |_: &Fixture| {
        let answer = client.ask(controller, queue, "", None).await?;
        let rules: Rules = serde_json::from_str(&answer.body)?;
        let key = rules.keys.values().any(|sandbox| sandbox == "pr-9");
        Ok((rules.sandboxes.contains_key("pr-9"), key) == (expected, expected))
    };
    fixture.until(&format!("{queue} has the sandbox: {expected}"), holds).await?;
    Ok(())
}

/// Who waits for the rules hears that they end and what becomes of unread messages, before the sandbox is
/// gone.
async fn down_is_heard(
    fixture: &Fixture,
    controller: &Controller,
    client: &Client,
) -> anyhow::Result<()> {
    let heard = async {
        let mut heard = Vec::new();
        let mut known = tag(&client.ask(controller, "payments", "", None).await?)?;
        loop {
            let answer = client.ask(controller, "payments", "?wait=30s", Some(&known)).await?;
            known = tag(&answer)?;
            let rules: Rules = serde_json::from_str(&answer.body)?;
            let rule = rules.sandboxes.get("pr-9").map(|rule| (rules.keys.len(), rule.unread));
            heard.push(rule);
            if rule.is_none() {
                return anyhow::Ok(heard);
            }
        }
    };
    let down = fixture.skycap(&["down", "pr-9", "-n", "shop", "--requeue", "--timeout", "0"]);
    let (heard, down) = tokio::join!(heard, down);
    let said = down?;
    anyhow::ensure!(said.contains("shop/pr-9 routes nothing any more"), "{said}");
    let heard = heard?;
    anyhow::ensure!(heard == [Some((0, Some(Unread::Requeue))), None], "{heard:?}");
    Ok(())
}
