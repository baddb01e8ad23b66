//! Others interfere and clocks jump: the table in the mesh stays right.

use jiff::{SignedDuration, Timestamp};
use kube::{
    api::{DeleteParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::json;
use skycap::{desired::istio::PluginKind, observed::api};
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
        }
        fixture.has_key("pr-2", true, "its last state").await?;
        let changes = fixture.changes().await? - before;
        println!("50 flaps: {changes} tables");
        // They come faster than the controller waits for quiet, so most share a round.
        anyhow::ensure!(changes <= 10, "{changes} tables for 50 flaps");
        fixture.is_settled("after the flapping").await?;
        Ok(())
    })
}

#[test]
fn a_namespace_is_deleted() -> anyhow::Result<()> {
    with_pr_1(async |fixture, _| {
        fixture.cluster.start_controllers("namespace-controller")?;
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
        status_finds_the_leader(fixture, true).await?;
        // By this clock pr-1 ended a day ago. Whatever is deleted does not come back with the right time.
        jump("+90000")?;
        let over = Timestamp::now() - SignedDuration::from_hours(2);
        let data = json!({"routes": "cart: cart-pr-3", "expires": over.to_string()});
        fixture.apply(&sandbox("pr-3", data)).await?;
        fixture.is_deleted("pr-3").await?;
        jump("-600")?;
        fixture.has_key("pr-1", true, "a jump back").await?;
        status_finds_the_leader(fixture, true).await?;
        anyhow::ensure!(controller.leads().await?, "the controller has lost the Lease");
        fixture.apply(&pr(2)).await?;
        fixture.has_key("pr-2", true, "a change after the jumps").await?;
        controller.kill().await?;
        status_finds_the_leader(fixture, false).await
    })
}

/// Whether `status` says that the leader renews its Lease, whatever its clock says.
async fn status_finds_the_leader(fixture: &Fixture, expected: bool) -> anyhow::Result<()> {
    let status = fixture.skycap_status(&["status", "-o", "json"]).await?;
    let status: serde_json::Value = serde_json::from_str(&status)?;
    let is_found = status["controller"]["renewedSecondsAgo"].is_u64();
    anyhow::ensure!(is_found == expected, "not {expected}: {}", status["controller"]);
    Ok(())
}
