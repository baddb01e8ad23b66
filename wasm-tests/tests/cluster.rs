//! The controller on a real etcd and kube-apiserver: what it writes, and that it writes no more.

mod kubernetes;

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kubernetes::{Fixture, endpoints, run, sandbox, service, settings};
use serde_json::json;
use skycap::desired::istio::PluginKind;
use skycap_tests::cluster::Controller;

#[test]
fn a_table_follows_the_cluster() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let _controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        fixture.is_settled("an empty cluster").await?;
        for name in ["cart", "cart-pr-1"] {
            fixture.apply(&service(name)).await?;
            fixture.apply(&endpoints(name, true)).await?;
        }
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        fixture.routes("pr-1", 1, "a new sandbox").await?;
        fixture.apply(&endpoints("cart-pr-1", false)).await?;
        fixture.routes("pr-1", 0, "the target is not ready").await?;
        fixture.apply(&endpoints("cart-pr-1", true)).await?;
        fixture.routes("pr-1", 1, "the target is ready again").await?;
        fixture
            .apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1", "enabled": "false"})))
            .await?;
        fixture.has_key("pr-1", false, "the toggle").await?;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        fixture.routes("pr-1", 1, "the toggle back").await?;
        fixture.apply(&settings(json!({"enabled": "false"}))).await?;
        fixture
            .until("the kill switch", async |fixture| Ok(!fixture.table().await?.enabled))
            .await?;
        fixture.apply(&settings(json!({"enabled": "no"}))).await?;
        fixture
            .until("bad settings are refused", async |fixture| {
                Ok(fixture.summary().await?.refused == 1)
            })
            .await?;
        anyhow::ensure!(!fixture.table().await?.enabled, "a mistyped kill switch never means on");
        fixture.apply(&settings(json!({"dispatch": "authority"}))).await?;
        fixture
            .until("no dispatch route in dispatch authority", async |fixture| {
                Ok(fixture.dispatch_route().await?.is_none())
            })
            .await?;
        fixture.is_settled("the end").await
    })
}

#[test]
fn a_trait_of_the_newer_istio_is_taken_where_it_is_served() -> anyhow::Result<()> {
    run(PluginKind::TrafficExtension, async |fixture: &mut Fixture| {
        let _controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        fixture.has_key("pr-1", true, "a sandbox").await
    })
}

#[test]
fn nothing_is_written_when_nothing_has_changed() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        let controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        fixture.has_key("pr-1", true, "a sandbox").await?;
        fixture.is_settled("the start").await?;
        let writes = controller.metric("skycap_controller_writes_total").await?;
        // What the table does not depend on: a label, another's Service, a second endpoint.
        let mut labelled = sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}));
        labelled["metadata"]["labels"]["team"] = "payments".into();
        fixture.apply(&labelled).await?;
        fixture.apply(&service("unrelated")).await?;
        fixture.apply(&endpoints("unrelated", true)).await?;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let after = controller.metric("skycap_controller_writes_total").await?;
        anyhow::ensure!(after == writes, "{} writes for nothing", after - writes);
        anyhow::ensure!(controller.terminate().await?, "an end by SIGTERM is a good one");
        Ok(())
    })
}

#[test]
fn a_sandbox_expires_by_itself() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let _controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        let expires = Timestamp::now() + SignedDuration::from_secs(3);
        let data = json!({"routes": "cart: cart-pr-1", "expires": expires.to_string()});
        fixture.apply(&sandbox("pr-1", data)).await?;
        fixture.has_key("pr-1", true, "before its time").await?;
        fixture.has_key("pr-1", false, "after its time").await?;
        let late = Timestamp::now().duration_since(expires);
        anyhow::ensure!(late < SignedDuration::from_secs(2), "expired {late} late");
        Ok(())
    })
}

#[test]
fn a_refused_fragment_is_told_once() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        // The policy does not read the YAML of routes; the controller does.
        fixture.apply(&sandbox("bad", json!({"routes": "cart: [oops"}))).await?;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        fixture.has_key("pr-1", true, "no other fragment suffers").await?;
        fixture.until("an Event", async |f| Ok(!f.notes("bad").await?.is_empty())).await?;
        // Another round, for another reason, tells it no second time.
        fixture.apply(&sandbox("pr-2", json!({"routes": "cart: cart-pr-2"}))).await?;
        fixture.has_key("pr-2", true, "another sandbox").await?;
        let notes = fixture.notes("bad").await?;
        anyhow::ensure!(notes.len() == 1 && notes[0].contains("data.routes"), "{notes:?}");
        let summary = fixture.summary().await?;
        anyhow::ensure!((summary.refused, summary.fragments) == (1, 2), "{summary:?}");
        anyhow::ensure!(controller.metric("skycap_controller_refused").await? == 1.0);
        Ok(())
    })
}

#[test]
fn one_replica_writes_and_the_other_takes_over() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let first = Controller::start(&fixture.cluster, "one", &[]).await?;
        fixture.until("a leader", async |_| leads(&first).await).await?;
        let second = Controller::start(&fixture.cluster, "two", &[]).await?;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        fixture.has_key("pr-1", true, "the first writes").await?;
        anyhow::ensure!(!leads(&second).await?, "two leaders");
        anyhow::ensure!(second.metric("skycap_controller_writes_total").await? == 0.0);
        let killed = Instant::now();
        first.kill().await?;
        fixture.apply(&sandbox("pr-2", json!({"routes": "cart: cart-pr-2"}))).await?;
        fixture.has_key("pr-2", true, "the second takes over").await?;
        let took = killed.elapsed();
        println!("hand-over after a kill: {took:?}");
        anyhow::ensure!(took < Duration::from_secs(15), "hand-over took {took:?}");
        // Who ends in peace gives the Lease back, and nobody waits for its end.
        let third = Controller::start(&fixture.cluster, "three", &[]).await?;
        let ended = Instant::now();
        anyhow::ensure!(second.terminate().await?, "an end by SIGTERM is a good one");
        fixture.until("the third leads", async |_| leads(&third).await).await?;
        println!("hand-over after SIGTERM: {:?}", ended.elapsed());
        Ok(())
    })
}

async fn leads(controller: &Controller) -> anyhow::Result<bool> {
    Ok(controller.metric("skycap_controller_leader").await? == 1.0)
}
