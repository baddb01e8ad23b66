//! Others interfere, clocks jump, and a table is too large: the table in the mesh stays right.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::{
    api::{DeleteParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::json;
use skycap::{
    desired::istio::{PluginKind, TABLE_LIMIT},
    observed::api,
};
use skycap_tests::{
    cluster::{Controller, faketime},
    fixture::{Fixture, manifests::sandbox, run},
};

use super::outages::{pr, with_pr_1};

#[test]
fn others_edit_and_delete_skycaps_objects() -> anyhow::Result<()> {
    with_pr_1(async |fixture, _| {
        let client = &fixture.cluster.client;
        for reference in api::read(client, &fixture.mesh.references()).await?.into_keys() {
            let api = api::api(client, &reference);
            api.delete(&reference.name, &DeleteParams::default()).await?;
        }
        fixture.is_settled("after a delete").await?;
        let plugin = &fixture.mesh.references()[0];
        let api = api::api(client, plugin);
        for edit in [
            json!({"spec": {"pluginConfig": {"keys": "evil:0"}}}),
            json!({"spec": {"failStrategy": "FAIL_CLOSE"}}),
        ] {
            let patch = Patch::Merge(edit);
            let _: DynamicObject = api.patch(&plugin.name, &PatchParams::default(), &patch).await?;
            fixture.is_settled("after an edit").await?;
        }
        // What others add is theirs: the controller's next write of the plugin leaves it there.
        let label = Patch::Merge(json!({"metadata": {"labels": {"team": "mesh"}}}));
        let _: DynamicObject = api.patch(&plugin.name, &PatchParams::default(), &label).await?;
        fixture.apply(&pr(2)).await?;
        fixture.has_key("pr-2", true, "a write after the label").await?;
        let labels = api.get(&plugin.name).await?.metadata.labels.unwrap_or_default();
        anyhow::ensure!(labels.contains_key("team"), "the label of others is gone: {labels:?}");
        Ok(())
    })
}

#[test]
fn a_fragment_flaps() -> anyhow::Result<()> {
    with_pr_1(async |fixture, _| {
        let before = fixture.changes().await?;
        for n in 0..50 {
            let enabled = if n % 2 == 0 { "false" } else { "true" };
            let data = json!({"routes": "cart: cart-pr-2", "enabled": enabled});
            fixture.apply(&sandbox("pr-2", data)).await?;
            let table = fixture.table().await?;
            anyhow::ensure!(table.keys.iter().any(|(key, _)| key == "pr-1"), "pr-1 is gone");
            tokio::time::sleep(Duration::from_millis(80)).await;
        }
        fixture.has_key("pr-2", true, "its last state").await?;
        let changes = fixture.changes().await? - before;
        println!("50 flaps: {changes} tables");
        // The first of them changes nothing: without `pr-2`, the table has no such key either.
        anyhow::ensure!(changes <= 49, "{changes} tables for 50 flaps");
        fixture.is_settled("after the flapping").await?;
        Ok(())
    })
}

#[test]
fn a_namespace_is_deleted() -> anyhow::Result<()> {
    with_pr_1(async |fixture, _| {
        fixture.cluster.start_namespace_controller()?;
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        fixture.delete_object(&namespace).await?;
        fixture.has_key("pr-1", false, "its sandboxes are gone").await?;
        fixture.is_settled("after the deletion").await?;
        Ok(())
    })
}

#[test]
fn the_clock_jumps() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let clock = fixture.cluster.folder().join("clock");
        let jump = |seconds: &str| std::fs::write(&clock, format!("{seconds}\n"));
        jump("+0")?;
        let (library, file) = (faketime()?.display().to_string(), clock.display().to_string());
        let env = [
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", file.as_str()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        let controller = Controller::start(&fixture.cluster, "one", &env).await?;
        let expires = Timestamp::now() + SignedDuration::from_mins(10);
        let data = json!({"routes": "cart: cart-pr-1", "expires": expires.to_string()});
        fixture.apply(&sandbox("pr-1", data)).await?;
        fixture.has_key("pr-1", true, "ten minutes before it expires").await?;
        jump("+1200")?;
        fixture.has_key("pr-1", false, "a jump past its expiry").await?;
        jump("-600")?;
        fixture.has_key("pr-1", true, "a jump back").await?;
        anyhow::ensure!(controller.leads().await?, "the controller has lost the Lease");
        fixture.apply(&pr(2)).await?;
        fixture.has_key("pr-2", true, "a change after the jumps").await?;
        Ok(())
    })
}

#[test]
fn a_table_is_too_large_for_the_api_server() -> anyhow::Result<()> {
    with_pr_1(async |fixture, _| {
        for (name, end) in [("huge-1", "a"), ("huge-2", "b")] {
            fixture.apply(&huge(name, end)).await?;
            fixture.has_key(name, true, "two fit").await?;
        }
        let bytes = fixture.summary().await?.bytes;
        anyhow::ensure!(bytes * 10 > TABLE_LIMIT * 8, "{bytes} bytes are far from the limit");
        let before = fixture.changes().await?;
        fixture.apply(&huge("huge-3", "c")).await?;
        let is_rejected = async |fixture: &Fixture| Ok(fixture.summary().await?.refused == 1);
        fixture.until("the report rejects the table", is_rejected).await?;
        fixture.has_key("pr-1", true, "the last table stays").await?;
        fixture.has_key("huge-3", false, "and nothing of the new one is in it").await?;
        anyhow::ensure!(fixture.changes().await? == before, "something was written");
        for name in ["huge-1", "huge-2", "huge-3"] {
            fixture.delete(name).await?;
        }
        fixture.is_settled("the table fits again").await?;
        let is_well = async |fixture: &Fixture| Ok(fixture.summary().await?.refused == 0);
        fixture.until("the report rejects nothing", is_well).await?;
        Ok(())
    })
}

/// A sandbox of 5,500 routes. Its targets have names of their own, so no two sandboxes share a route.
fn huge(name: &str, end: &str) -> serde_json::Value {
    let long = "x".repeat(36);
    let routes: Vec<_> = (0..5_500).map(|n| format!("s{n}: {long}-{n}-{end}")).collect();
    sandbox(name, json!({"routes": routes.join("\n"), "onUnavailable": "fail"}))
}
