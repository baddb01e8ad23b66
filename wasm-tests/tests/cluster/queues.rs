//! The rules of queues, which every replica of the controller serves: to whom, and how soon.

mod client;
mod life;
mod tokens;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hyper::StatusCode;
use serde_json::{Value, json};
use skycap::{desired::istio::PluginKind, names::NAMESPACE, table::queue::rules::Rules};
use skycap_tests::{
    client::get,
    cluster::Controller,
    fixture::{
        Fixture,
        manifests::{fragment, sandbox, settings},
        run,
    },
};

use self::{
    client::Client,
    tokens::{expired, is_revoked},
};

#[test]
fn each_replica_serves_the_rules_as_they_are() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let first = Controller::start(&fixture.cluster, "one", &[]).await?;
        let second = Controller::start(&fixture.cluster, "two", &[]).await?;
        apply_queue(fixture).await?;
        let client = Client::of(fixture, "shop").await?;
        let wanted = json!({
            "enabled": true,
            "carriers": [{"baggage": "sandbox"}],
            "keys": {"pr-1": "pr-1", "release": "pr-1"},
            "sandboxes": {"pr-1": {"onUnavailable": "baseline"}},
        });
        for controller in [&first, &second] {
            let is_served = async |_: &Fixture| {
                let served: Value = serde_json::from_str(&client.rules(controller).await?.1)?;
                Ok(served == wanted)
            };
            fixture.until("the rules", is_served).await?;
        }
        let (tag, _) = client.rules(&first).await?;
        anyhow::ensure!(client.rules(&second).await?.0 == tag, "the replicas have different tags");
        changes_arrive_at_once(fixture, &second, &client, &tag).await?;
        the_kill_switch_and_malformed_settings(fixture, &second, &client).await
    })
}

/// A queue, a sandbox that has it and a group that joins that.
async fn apply_queue(fixture: &Fixture) -> anyhow::Result<()> {
    let data =
        json!({"kafka": "bootstrap.servers: kafka:9092", "topic": "orders", "group": "cart"});
    fixture.apply(&fragment("queue", "orders", data)).await?;
    fixture.apply(&sandbox("pr-1", json!({"queues": "orders"}))).await?;
    fixture.apply(&fragment("group", "release", json!({"members": "pr-1"}))).await
}

/// A controller that serves the rules of a queue, and a client that may ask for them.
async fn serve_queue(fixture: &Fixture) -> anyhow::Result<(Controller, Client)> {
    let controller = Controller::start(&fixture.cluster, "one", &[]).await?;
    apply_queue(fixture).await?;
    let client = Client::of(fixture, "shop").await?;
    let is_served = async |_: &Fixture| Ok(client.rules(&controller).await?.0.len() > 2);
    fixture.until("the rules", is_served).await?;
    Ok((controller, client))
}

/// Who waits gets a change as soon as the controller has compiled it; who waits in vain gets a 304.
async fn changes_arrive_at_once(
    fixture: &Fixture,
    controller: &Controller,
    client: &Client,
    tag: &str,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let answer = client.wait(controller, "1s", tag).await?;
    anyhow::ensure!(answer.status == StatusCode::NOT_MODIFIED, "{answer:?}");
    anyhow::ensure!(begun.elapsed() >= Duration::from_secs(1), "it did not wait");
    let mut tag = tag.to_owned();
    let mut slowest = Duration::ZERO;
    for n in 0..10 {
        let enabled = (n % 2 == 1).to_string();
        let change = sandbox("pr-1", json!({"queues": "orders", "enabled": enabled}));
        let waits = client.wait(controller, "30s", &tag);
        let (answer, applied) = tokio::join!(waits, async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            fixture.apply(&change).await.map(|()| Instant::now())
        });
        slowest = slowest.max(applied?.elapsed());
        let answer = answer?;
        let rules: Rules = serde_json::from_str(&answer.body)?;
        anyhow::ensure!(rules.keys.len() == 2 * (n % 2), "{n}: {rules:?}");
        anyhow::ensure!(rules.sandboxes.contains_key("pr-1"), "a disabled one keeps its topic");
        tag = client::tag(&answer)?;
    }
    println!("a change reaches who waits {slowest:?} after the write, at most");
    // The pause of 50 ms that a round waits for, and the round.
    anyhow::ensure!(slowest < Duration::from_secs(2), "it took {slowest:?}");
    Ok(())
}

/// Malformed settings keep the rules, as they keep the table.
async fn the_kill_switch_and_malformed_settings(
    fixture: &Fixture,
    controller: &Controller,
    client: &Client,
) -> anyhow::Result<()> {
    let (tag, _) = client.rules(controller).await?;
    fixture.apply(&settings(json!({"enabled": "false"}))).await?;
    let off = client.wait(controller, "30s", &tag).await?;
    let rules: Rules = serde_json::from_str(&off.body)?;
    anyhow::ensure!(!rules.enabled && rules.keys.is_empty(), "{rules:?}");
    fixture.apply(&settings(json!({"enabled": "false", "carriers": "[}"}))).await?;
    fixture.until("the problem", async |f| Ok(f.summary().await?.refused == 1)).await?;
    anyhow::ensure!(client.rules(controller).await?.0 == client::tag(&off)?, "the rules changed");
    fixture.apply(&settings(json!({"enabled": "true"}))).await?;
    let on = client.wait(controller, "30s", &client::tag(&off)?).await?;
    let rules: Rules = serde_json::from_str(&on.body)?;
    anyhow::ensure!(rules.enabled && rules.keys.len() == 2, "{rules:?}");
    Ok(())
}

#[test]
fn only_tokens_of_the_namespace_are_let_in() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let (controller, client) = serve_queue(fixture).await?;
        let other = Client::of(fixture, "mall").await?;
        let for_api_server = fixture.cluster.token_of("shop", client::ACCOUNT).await?;
        let of_others = Client::with(other.token.clone());
        let expired = Client::with(expired(fixture, &client.token)?);
        for (what, client, status) in [
            ("no token", Client::with(String::new()), StatusCode::UNAUTHORIZED),
            ("no such token", Client::with("a.b.c".into()), StatusCode::UNAUTHORIZED),
            ("another audience", Client::with(for_api_server), StatusCode::UNAUTHORIZED),
            ("expired", expired, StatusCode::UNAUTHORIZED),
            ("of another namespace", of_others, StatusCode::FORBIDDEN),
        ] {
            let answer = client.ask(&controller, "orders", "", None).await?;
            anyhow::ensure!(answer.status == status, "{what}: {answer:?}");
        }
        let missing = client.ask(&controller, "payments", "", None).await?;
        anyhow::ensure!(missing.status == StatusCode::NOT_FOUND, "{missing:?}");
        let invalid = client.ask(&controller, "orders", "?wait=soon", None).await?;
        anyhow::ensure!(invalid.status == StatusCode::BAD_REQUEST, "{invalid:?}");
        is_revoked(fixture, &controller).await
    })
}

#[test]
fn who_waits_keeps_nobody_from_the_health_of_the_controller() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let (controller, client) = serve_queue(fixture).await?;
        let (tag, _) = client.rules(&controller).await?;
        // More than may wait, and more than may be connected.
        let all = join_all((0..300).map(|_| client.wait(&controller, "5s", &tag)));
        let probe = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            for path in ["/healthz", "/readyz", "/metrics"] {
                let begun = Instant::now();
                let answer = get(controller.address(), path).await?;
                anyhow::ensure!(!answer.starts_with("not"), "{path}: {answer}");
                anyhow::ensure!(begun.elapsed() < Duration::from_secs(1), "{path} is slow");
            }
            anyhow::Ok(())
        };
        let (answers, probed) = tokio::join!(all, probe);
        probed?;
        let statuses: Vec<_> = answers.into_iter().flatten().map(|answer| answer.status).collect();
        let count = |status| statuses.iter().filter(|found| **found == status).count();
        let (waited, turned_away) =
            (count(StatusCode::NOT_MODIFIED), count(StatusCode::SERVICE_UNAVAILABLE));
        println!("{waited} waited, {turned_away} were turned away");
        anyhow::ensure!(waited >= 64 && turned_away > 0, "{statuses:?}");
        anyhow::ensure!(waited + turned_away == statuses.len(), "{statuses:?}");
        Ok(())
    })
}

#[test]
fn the_last_rules_are_served_while_the_api_server_is_away() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let (controller, client) = serve_queue(fixture).await?;
        let last = client.rules(&controller).await?;
        let unknown =
            Client::with(fixture.cluster.token_for("shop", client::ACCOUNT, Some("skycap")).await?);
        fixture.cluster.kill_apiserver().await?;
        // Longer than an answer of the API server about a token holds.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(35) {
            anyhow::ensure!(
                client.rules(&controller).await? == last,
                "after {:?}",
                begun.elapsed()
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let answer = unknown.ask(&controller, "orders", "", None).await?;
        anyhow::ensure!(answer.status == StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        fixture.cluster.start_apiserver().await?;
        fixture.delete("pr-1").await?;
        let answer = client.wait(&controller, "30s", &last.0).await?;
        let rules: Value = serde_json::from_str(&answer.body)?;
        anyhow::ensure!(rules["sandboxes"] == json!({}), "{rules}");
        Ok(())
    })
}

/// What a controller answers needs its permission to review tokens.
pub(super) async fn rules_are_served(
    fixture: &Fixture,
    controller: &Controller,
) -> anyhow::Result<()> {
    let client = Client::of(fixture, NAMESPACE).await?;
    let is_checked = async |_: &Fixture| {
        let answer = client.ask(controller, "orders", "", None).await?;
        Ok(answer.status == StatusCode::FORBIDDEN)
    };
    fixture.until("a token is checked", is_checked).await?;
    Ok(())
}
