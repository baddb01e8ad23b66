//! What breaks in a cluster, and that the table comes through: after each fault it is the pure
//! function of the cluster's state, and nothing else was served in between.

mod kubernetes;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::{
    api::{DeleteParams, Patch, PatchParams},
    core::DynamicObject,
};
use kubernetes::{Fixture, run, sandbox};
use serde_json::json;
use skycap::{
    desired::istio::{PluginKind, TABLE_LIMIT},
    names::CONTROLLER,
    observed::api,
};
use skycap_tests::cluster::{Controller, faketime};

/// A cluster in which `pr-1` is routed, by a controller that runs.
fn routed(
    test: impl AsyncFnOnce(&mut Fixture, &Controller) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        fixture.apply(&pr(1)).await?;
        fixture.has_key("pr-1", true, "before the fault").await?;
        fixture.is_settled("before the fault").await?;
        let result = test(fixture, &controller).await;
        drop(controller);
        result
    })
}

#[test]
fn the_api_server_crashes_under_load() -> anyhow::Result<()> {
    routed(async |fixture, _| {
        let before = fixture.changes().await?;
        for crash in 0..2 {
            fixture.cluster.kill_apiserver().await?;
            tokio::time::sleep(Duration::from_millis(500)).await;
            fixture.cluster.start_apiserver().await?;
            for n in 0..20 {
                fixture.apply(&pr(100 * crash + n)).await?;
            }
        }
        fixture.is_settled("after two crashes").await?;
        fixture.has_key("pr-119", true, "the last of the load").await?;
        // Written in a few rounds and never emptied: each change adds keys.
        let changes = fixture.changes().await? - before;
        anyhow::ensure!(changes <= 40, "{changes} tables for 40 sandboxes");
        Ok(())
    })
}

#[test]
fn a_watch_is_too_old() -> anyhow::Result<()> {
    routed(async |fixture, controller| {
        // The controller sleeps while the cluster changes and forgets what it did.
        controller.signal("STOP")?;
        fixture.apply(&pr(2)).await?;
        fixture.delete("pr-1").await?;
        fixture.cluster.compact().await?;
        fixture.cluster.kill_apiserver().await?;
        fixture.cluster.start_apiserver().await?;
        fixture.apply(&pr(3)).await?;
        controller.signal("CONT")?;
        fixture.has_key("pr-3", true, "after the sleep").await?;
        fixture.has_key("pr-1", false, "what was deleted meanwhile").await?;
        fixture.is_settled("after the sleep").await
    })
}

#[test]
fn etcd_stops_for_twenty_seconds() -> anyhow::Result<()> {
    routed(async |fixture, controller| {
        let before = fixture.changes().await?;
        fixture.cluster.kill_etcd().await?;
        tokio::time::sleep(Duration::from_secs(20)).await;
        fixture.cluster.start_etcd()?;
        fixture.until("etcd is back", async |f| Ok(f.changes().await? == before)).await?;
        fixture.until("a new sandbox", async |f| Ok(f.apply(&pr(2)).await.is_ok())).await?;
        fixture.has_key("pr-2", true, "after etcd is back").await?;
        fixture.is_settled("after etcd is back").await?;
        fixture
            .until("leads again", async |_| {
                Ok(controller.metric("skycap_controller_leader").await? == 1.0)
            })
            .await
    })
}

#[test]
fn another_edits_and_deletes_what_is_skycaps() -> anyhow::Result<()> {
    routed(async |fixture, _| {
        let client = &fixture.cluster.client;
        for reference in api::read(client, &fixture.mesh.references()).await?.into_keys() {
            let api = api::api(client, &reference);
            api.delete(&reference.name, &DeleteParams::default()).await?;
        }
        fixture.is_settled("after a delete").await?;
        let plugin = &fixture.mesh.references()[0];
        let api = api::api(&fixture.cluster.client, plugin);
        for edit in [
            json!({"spec": {"pluginConfig": {"keys": "evil:0"}}}),
            json!({"spec": {"failStrategy": "FAIL_CLOSE"}}),
        ] {
            let patch = Patch::Merge(edit);
            let _: DynamicObject = api.patch(&plugin.name, &PatchParams::default(), &patch).await?;
            fixture.is_settled("after an edit").await?;
        }
        // What others add beside it is theirs.
        let label = Patch::Merge(json!({"metadata": {"labels": {"team": "mesh"}}}));
        let _: DynamicObject = api.patch(&plugin.name, &PatchParams::default(), &label).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let labels = api.get(&plugin.name).await?.metadata.labels.unwrap_or_default();
        anyhow::ensure!(labels.contains_key("team"), "a label of others is gone: {labels:?}");
        Ok(())
    })
}

#[test]
fn a_fragment_flaps() -> anyhow::Result<()> {
    routed(async |fixture, _| {
        let before = fixture.changes().await?;
        for n in 0..50 {
            let enabled = if n % 2 == 0 { "false" } else { "true" };
            let data = json!({"routes": "cart: cart-pr-2", "enabled": enabled});
            fixture.apply(&sandbox("pr-2", data)).await?;
            fixture.has_key("pr-1", true, "the other one").await?;
            tokio::time::sleep(Duration::from_millis(80)).await;
        }
        fixture.has_key("pr-2", true, "its last word").await?;
        let changes = fixture.changes().await? - before;
        println!("50 flaps in five seconds: {changes} tables");
        anyhow::ensure!(changes <= 51, "{changes} tables for 50 flaps");
        fixture.is_settled("after the flapping").await
    })
}

#[test]
fn a_namespace_is_deleted() -> anyhow::Result<()> {
    routed(async |fixture, _| {
        fixture.cluster.start_namespace_controller()?;
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        fixture.delete_object(&namespace).await?;
        fixture.has_key("pr-1", false, "its sandboxes are gone").await?;
        fixture.is_settled("after the end").await
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
        fixture.has_key("pr-1", true, "ten minutes before its end").await?;
        jump("+1200")?;
        fixture.has_key("pr-1", false, "its end is passed by a jump").await?;
        jump("-600")?;
        fixture.has_key("pr-1", true, "and lies ahead again").await?;
        anyhow::ensure!(controller.metric("skycap_controller_leader").await? == 1.0, "led on");
        fixture.apply(&pr(2)).await?;
        fixture.has_key("pr-2", true, "and goes on").await
    })
}

#[test]
fn rights_are_withdrawn_and_given_back() -> anyhow::Result<()> {
    routed(async |fixture, controller| {
        let before = fixture.changes().await?;
        let group = "rbac.authorization.k8s.io/v1";
        let binding = json!({
            "apiVersion": group,
            "kind": "RoleBinding",
            "metadata": {"name": CONTROLLER, "namespace": "istio-system"},
        });
        fixture.delete_object(&binding).await?;
        fixture.apply(&pr(2)).await?;
        fixture
            .until("it says what is wrong", async |_| {
                Ok(controller.metric("skycap_controller_errors_total").await? > 0.0
                    && controller.log().contains("forbidden"))
            })
            .await?;
        anyhow::ensure!(fixture.changes().await? == before, "written without a right");
        fixture.has_key("pr-1", true, "the last good table stays").await?;
        fixture.cluster.install().await?;
        fixture.has_key("pr-2", true, "with its rights back").await?;
        fixture.is_settled("with its rights back").await
    })
}

#[test]
fn a_table_is_too_large_for_the_api_server() -> anyhow::Result<()> {
    routed(async |fixture, _| {
        // Targets with names of their own, so that no two sandboxes share a route.
        let huge = |name: &str, end: &str| {
            let long = "x".repeat(36);
            let routes: Vec<_> = (0..5_500).map(|n| format!("s{n}: {long}-{n}-{end}")).collect();
            sandbox(name, json!({"routes": routes.join("\n"), "onUnavailable": "fail"}))
        };
        for (name, end) in [("huge-1", "a"), ("huge-2", "b")] {
            fixture.apply(&huge(name, end)).await?;
            fixture.has_key(name, true, "two fit").await?;
        }
        let bytes = fixture.summary().await?.bytes;
        anyhow::ensure!(bytes * 10 > TABLE_LIMIT * 8, "{bytes} bytes are far from the limit");
        let before = fixture.changes().await?;
        fixture.apply(&huge("huge-3", "c")).await?;
        fixture
            .until("a report", async |f| Ok(f.report().await?.contains("the last good one stays")))
            .await?;
        fixture.has_key("pr-1", true, "the last good table stays").await?;
        fixture.has_key("huge-3", false, "and no half of the new one").await?;
        anyhow::ensure!(fixture.changes().await? == before, "something was written");
        for name in ["huge-1", "huge-2", "huge-3"] {
            fixture.delete(name).await?;
        }
        fixture.is_settled("when it fits again").await?;
        fixture.until("a good report", async |f| Ok(f.summary().await?.refused == 0)).await
    })
}

fn pr(number: usize) -> serde_json::Value {
    sandbox(&format!("pr-{number}"), json!({"routes": format!("cart: cart-pr-{number}")}))
}
