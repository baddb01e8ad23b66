//! Attacks by a developer who may write ConfigMaps in one namespace, on a real API server, and a leader
//! that does not know that it no longer leads.

mod taken_over;
mod votes;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use skycap::{
    desired::istio::PluginKind,
    names::{NAMESPACE, STATUS},
    table::limits::TABLE_BYTES,
};
use skycap_tests::{
    cluster::Controller,
    fixture::{
        Fixture,
        manifests::{fragment, sandbox, settings},
        run,
    },
};

use super::leader::two_replicas;

/// A table of 1.7 MB, of which no one's changes arrived, not even the kill switch.
#[test]
fn a_namespace_fills_the_table() -> anyhow::Result<()> {
    let long = "x".repeat(40);
    let routes = |number: usize| -> String {
        (0..256).map(|n| format!("s{n}: {long}-{n}-{number}\n")).collect()
    };
    let data = move |number: usize| json!({"routes": routes(number), "onUnavailable": "fail"});
    // This is not an optimised build, and a megabyte takes the API server half a second. The
    // container's limit is 256 MiB.
    while_under_attack("sandbox", 80, data, Duration::from_secs(15), 240, async |fixture| {
        let is_full = async |fixture: &Fixture| {
            let summary = fixture.summary().await?;
            Ok(summary.bytes * 10 > TABLE_BYTES * 9 && summary.refused > 20)
        };
        fixture.until("the table is full", is_full).await.map(drop)
    })
}

/// 6,400 members that no fragment has, and as many problems.
#[test]
fn groups_join_what_does_not_exist() -> anyhow::Result<()> {
    let members = |number: usize| (0..64).map(|n| format!("no-{number}-{n}, ")).collect::<String>();
    let data = move |number: usize| json!({"members": members(number)});
    while_under_attack("group", 100, data, SECOND, 128, async |fixture| {
        let has_warnings = async |fixture: &Fixture| Ok(fixture.summary().await?.warnings >= 100);
        fixture.until("one warning for each group", has_warnings).await?;
        let warnings = fixture.summary().await?.warnings;
        anyhow::ensure!(warnings < 120, "{warnings} warnings for 100 groups");
        Ok(())
    })
}

/// Each is refused, with an Event and a quoted value of 60 KB that moves the cursor.
#[test]
fn fragments_are_refused_by_the_hundred() -> anyhow::Result<()> {
    let escapes = "\u{1b}[2J\u{1b}]52;c;ZXZpbA==\u{7} 9".repeat(2_500);
    let data = move |_| json!({"ttl": escapes});
    while_under_attack("sandbox", 300, data, SECOND, 128, async |fixture| {
        let are_refused = async |fixture: &Fixture| Ok(fixture.summary().await?.refused == 300);
        fixture.until("all are refused", are_refused).await?;
        let report = fixture.report().await?;
        anyhow::ensure!(!report.contains("\\u001b"), "an escape character is in the report");
        Ok(())
    })
}

/// A status that the API server refuses keeps no change of the table from being written.
#[test]
fn the_status_is_refused() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        fixture.has_key("pr-1", true, "a sandbox").await?;
        for object in deny_status() {
            fixture.apply(&object).await?;
        }
        let is_denied = || controller.log().contains("cannot write the status");
        for number in 2..60 {
            let name = format!("pr-{number}");
            fixture.apply(&sandbox(&name, json!({"routes": "cart: cart-pr-1"}))).await?;
            fixture.has_key(&name, true, "while the status is refused").await?;
            if is_denied() {
                break;
            }
        }
        anyhow::ensure!(is_denied(), "the policy has refused no status");
        fixture.delete("pr-1").await?;
        fixture.has_key("pr-1", false, "a deletion").await?;
        let errors = controller.metric("skycap_controller_errors_total").await?;
        anyhow::ensure!(errors == 0.0, "{errors} rounds failed");
        Ok(())
    })
}

/// A leader that was frozen, and wakes up behind its successor, writes nothing.
#[test]
fn a_frozen_leader_wakes_up() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let (first, second) = two_replicas(fixture).await?;
        let is_written = async |_: &Fixture| Ok(first.writes().await? >= 2.0);
        fixture.until("the status too", is_written).await?;
        let before = first.writes().await?;
        first.signal("STOP")?;
        // When it wakes up, it sees this change, which it has not written.
        fixture.apply(&sandbox("pr-2", json!({"routes": "cart: cart-pr-2"}))).await?;
        fixture.has_key("pr-2", true, "the second takes over").await?;
        // Then the second is frozen too, so that only the first could write the deletion.
        second.signal("STOP")?;
        fixture.delete("pr-2").await?;
        first.signal("CONT")?;
        let notices = async |_: &Fixture| Ok(!first.leads().await?);
        fixture.until("the first knows that it does not lead", notices).await?;
        let after = first.writes().await?;
        anyhow::ensure!(after == before, "it has written {} objects", after - before);
        second.signal("CONT")?;
        fixture.has_key("pr-2", false, "the second goes on").await?;
        Ok(())
    })
}

/// Applies `count` fragments of `kind` in namespace `evil`, and checks that meanwhile and afterwards
/// the kill switch takes at most `limit` or two seconds, a change in another namespace at most `limit`,
/// and the controller's memory at most `memory` MiB.
fn while_under_attack(
    kind: &str,
    count: usize,
    data: impl Fn(usize) -> Value,
    limit: Duration,
    memory: u64,
    arrives: impl AsyncFn(&Fixture) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        let evil = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "evil"}});
        fixture.apply(&evil).await?;
        let manifests = (0..count).map(|number| {
            let mut manifest = fragment(kind, &format!("e{number}"), data(number));
            manifest["metadata"]["namespace"] = "evil".into();
            manifest
        });
        let shared: &Fixture = fixture;
        let attack = stream::iter(manifests)
            .map(async |manifest| shared.apply(&manifest).await)
            .buffer_unordered(4)
            .try_collect::<Vec<()>>();
        let (attacked, used) = tokio::join!(attack, use_switches(shared, limit, "during"));
        attacked.context("the attack does not reach the API server")?;
        used?;
        arrives(shared).await?;
        use_switches(shared, limit, "after").await?;
        let resident = controller.resident_kib()? / 1024;
        println!("the controller takes {resident} MiB");
        anyhow::ensure!(resident < memory, "the controller takes {resident} MiB");
        Ok(())
    })
}

async fn use_switches(fixture: &Fixture, limit: Duration, when: &str) -> anyhow::Result<()> {
    for round in 0..3 {
        let name = format!("pr-{when}-{round}");
        let begun = Instant::now();
        fixture.apply(&sandbox(&name, json!({"routes": "cart: cart-pr-1"}))).await?;
        let took = first_time(begun, async || has(fixture, &name).await).await?;
        println!("{when} the attack: a sandbox after {took:?}");
        anyhow::ensure!(took < limit, "a sandbox took {took:?}");
        let begun = Instant::now();
        fixture.apply(&settings(json!({"enabled": "false"}))).await?;
        let off = async || Ok(!fixture.table().await?.enabled);
        let took = first_time(begun, off).await?;
        println!("{when} the attack: the kill switch after {took:?}");
        anyhow::ensure!(took < limit.max(Duration::from_secs(2)), "the kill switch took {took:?}");
        fixture.apply(&settings(json!({}))).await?;
        first_time(Instant::now(), async || has(fixture, &name).await).await?;
    }
    Ok(())
}

async fn has(fixture: &Fixture, key: &str) -> anyhow::Result<bool> {
    match fixture.table().await {
        Ok(table) => Ok(table.keys.iter().any(|(name, _)| name == key)),
        // There is no plugin before the first sandbox.
        Err(_) => Ok(false),
    }
}

/// How long it takes until `holds` for the first time.
async fn first_time(
    begun: Instant,
    holds: impl AsyncFn() -> anyhow::Result<bool>,
) -> anyhow::Result<Duration> {
    while !holds().await? {
        anyhow::ensure!(begun.elapsed() < Duration::from_secs(20), "it does not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(begun.elapsed())
}

/// A policy that denies every write of the status ConfigMap.
fn deny_status() -> [Value; 2] {
    let group = "admissionregistration.k8s.io/v1";
    let metadata = json!({"name": "deny-status"});
    let rules = json!([{
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
        "resources": ["configmaps"],
    }]);
    let is_other =
        format!("object.metadata.namespace != '{NAMESPACE}' || object.metadata.name != '{STATUS}'");
    [
        json!({
            "apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": metadata,
            "spec": {
                "matchConstraints": {"resourceRules": rules},
                "validations": [{"expression": is_other}],
            },
        }),
        json!({
            "apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding", "metadata": metadata,
            "spec": {"policyName": "deny-status", "validationActions": ["Deny"]},
        }),
    ]
}

/// A second, and what the API server itself takes.
const SECOND: Duration = Duration::from_millis(1_500);
