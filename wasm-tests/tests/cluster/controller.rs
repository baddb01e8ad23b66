//! What the controller writes, and that it writes nothing more.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use skycap::desired::istio::PluginKind;
use skycap_tests::{
    cluster::Controller,
    fixture::{
        Fixture,
        manifests::{endpoints, sandbox, service, settings},
        run,
    },
};

#[test]
fn the_table_follows_sandboxes_and_endpoints() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let _controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        fixture.is_settled("an empty cluster").await?;
        for name in ["cart", "cart-pr-1"] {
            fixture.apply(&service(name)).await?;
            fixture.apply(&endpoints(name, true)).await?;
        }
        fixture.apply(&pr_1()).await?;
        fixture.has_routes("pr-1", 1, "a new sandbox").await?;
        fixture.apply(&endpoints("cart-pr-1", false)).await?;
        fixture.has_routes("pr-1", 0, "the target is not ready").await?;
        fixture.apply(&endpoints("cart-pr-1", true)).await?;
        fixture.has_routes("pr-1", 1, "the target is ready again").await?;
        let disabled = json!({"routes": "cart: cart-pr-1", "enabled": "false"});
        fixture.apply(&sandbox("pr-1", disabled)).await?;
        fixture.has_key("pr-1", false, "disabled").await?;
        fixture.apply(&pr_1()).await?;
        fixture.has_routes("pr-1", 1, "enabled").await?;
        fixture.is_settled("the end").await?;
        Ok(())
    })
}

#[test]
fn the_table_follows_the_settings() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let _controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        fixture.apply(&pr_1()).await?;
        fixture.has_key("pr-1", true, "a sandbox").await?;
        let is_enabled = async |f: &Fixture| anyhow::Ok(f.table().await?.enabled);
        anyhow::ensure!(is_enabled(fixture).await?, "the table is disabled at the start");
        fixture.apply(&settings(json!({"enabled": "false"}))).await?;
        fixture.until("the kill switch", async |f| Ok(!is_enabled(f).await?)).await?;
        fixture.apply(&settings(json!({"enabled": "no"}))).await?;
        let is_rejected = async |fixture: &Fixture| Ok(fixture.summary().await?.refused == 1);
        fixture.until("invalid settings are rejected", is_rejected).await?;
        anyhow::ensure!(!is_enabled(fixture).await?, "a mistyped kill switch enabled the table");
        fixture.apply(&settings(json!({"dispatch": "authority"}))).await?;
        let has_none = async |fixture: &Fixture| Ok(fixture.dispatch_route().await?.is_none());
        fixture.until("no dispatch route in dispatch authority", has_none).await?;
        fixture.is_settled("the end").await?;
        Ok(())
    })
}

#[test]
fn the_newer_istio_gets_a_traffic_extension() -> anyhow::Result<()> {
    run(PluginKind::TrafficExtension, async |fixture: &mut Fixture| {
        let _controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        fixture.apply(&pr_1()).await?;
        fixture.has_key("pr-1", true, "a sandbox").await?;
        Ok(())
    })
}

#[test]
fn changes_that_the_table_does_not_depend_on_cause_no_write() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        fixture.apply(&pr_1()).await?;
        let controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        fixture.has_key("pr-1", true, "a sandbox").await?;
        fixture.is_settled("the start").await?;
        // What one more sandbox costs: the marker that follows the other changes costs the same.
        let writes = controller.writes().await?;
        let marker_writes = writes_of_marker(fixture, &controller, "marker-1").await? - writes;
        for change in irrelevant_changes() {
            let writes = controller.writes().await?;
            fixture.apply(&change).await?;
            // A write would follow 50 ms later. The pause keeps it out of the marker's round; the
            // marker, which comes by the same watch or after it, proves that the change was seen.
            tokio::time::sleep(Duration::from_millis(250)).await;
            let name = format!("after-{}", change["kind"].as_str().unwrap_or_default());
            let name = name.to_lowercase();
            let after = writes_of_marker(fixture, &controller, &name).await?;
            anyhow::ensure!(
                after - writes == marker_writes,
                "{} writes instead of {marker_writes} for the marker and {change}",
                after - writes
            );
        }
        anyhow::ensure!(controller.terminate().await?, "SIGTERM: the exit code is not 0");
        Ok(())
    })
}

/// Changes that the table does not depend on: a label, the Service of no sandbox, its endpoint.
fn irrelevant_changes() -> [Value; 3] {
    let mut labelled = pr_1();
    labelled["metadata"]["labels"]["team"] = "payments".into();
    [labelled, service("unrelated"), endpoints("unrelated", true)]
}

/// Adds a sandbox and waits until it is in the table and in the report. Returns how many objects the
/// controller has written by then.
async fn writes_of_marker(
    fixture: &Fixture,
    controller: &Controller,
    name: &str,
) -> anyhow::Result<f64> {
    let fragments = fixture.summary().await?.fragments;
    fixture.apply(&sandbox(name, json!({"routes": "cart: cart-pr-1"}))).await?;
    fixture.has_key(name, true, name).await?;
    let is_reported =
        async |fixture: &Fixture| Ok(fixture.summary().await?.fragments == fragments + 1);
    fixture.until("the marker in the report", is_reported).await?;
    // The round is over when its writes are counted.
    let rounds = controller.metric("skycap_controller_rounds_total").await?;
    let writes = controller.writes().await?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    anyhow::ensure!(
        controller.metric("skycap_controller_rounds_total").await? == rounds,
        "another round follows the marker's"
    );
    Ok(writes)
}

#[test]
fn a_sandbox_expires_by_itself() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let _controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        let expires = Timestamp::now() + SignedDuration::from_secs(4);
        let data = json!({"routes": "cart: cart-pr-1", "expires": expires.to_string()});
        fixture.apply(&sandbox("pr-1", data)).await?;
        fixture.has_key("pr-1", true, "before it expires").await?;
        let begun = Timestamp::now();
        let gone = fixture.has_key("pr-1", false, "after it expired").await?;
        let late = (begun + SignedDuration::try_from(gone)?).duration_since(expires);
        println!("a sandbox left the table {late} after it expired");
        anyhow::ensure!(late >= SignedDuration::ZERO, "{} too early", late.abs());
        anyhow::ensure!(late < SignedDuration::from_secs(1), "{late} too late");
        // It stays for an hour, so that its end can be moved.
        fixture.apply(&settings(json!({"deleteExpired": "1s"}))).await?;
        fixture.is_deleted("pr-1").await
    })
}

#[test]
fn a_rejected_fragment_gets_one_event() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        // The admission policy does not parse the YAML of routes; the controller does.
        fixture.apply(&sandbox("bad", json!({"routes": "cart: [oops"}))).await?;
        fixture.apply(&pr_1()).await?;
        fixture.has_key("pr-1", true, "no other fragment is affected").await?;
        fixture.until("an Event", async |f| Ok(!f.notes("bad").await?.is_empty())).await?;
        // Another round, for another reason, must not repeat it.
        fixture.apply(&sandbox("pr-2", json!({"routes": "cart: cart-pr-2"}))).await?;
        fixture.has_key("pr-2", true, "another sandbox").await?;
        let is_reported = async |f: &Fixture| Ok(f.summary().await?.keys == 2);
        fixture.until("a report with it", is_reported).await?;
        let notes = fixture.notes("bad").await?;
        anyhow::ensure!(notes.len() == 1 && notes[0].contains("data.routes"), "{notes:?}");
        let summary = fixture.summary().await?;
        anyhow::ensure!((summary.refused, summary.fragments) == (1, 2), "{summary:?}");
        anyhow::ensure!(controller.metric("skycap_controller_refused").await? == 1.0);
        Ok(())
    })
}

fn pr_1() -> Value {
    sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))
}
