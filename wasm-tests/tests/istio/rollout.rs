//! A new module on some workloads first: a good one is then given to all, a bad one is taken back, and
//! no other workload is affected.

use std::process::Stdio;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use skycap::{
    desired::istio::PluginKind,
    names::{CANARY, NAMESPACE, ROLLOUT},
    observed::api,
};
use skycap_tests::{
    cluster::Registry,
    faulty::{self, Fault},
    fixture::{
        Fixture,
        istio_shop::{IstioShop, pricing_becomes, send_from},
        manifests::{fragment, sandbox, settings},
        module_path, run,
    },
};
use tokio::process::Child;

use super::load::{KEY, Load, Requests};

/// The clients of the load: one of the canary's workloads, and one of the others.
const CANARY_CLIENT: usize = 0;
const OTHER_CLIENT: usize = 1;

#[test]
fn a_good_module_is_promoted() -> anyhow::Result<()> {
    with_load(PluginKind::TrafficExtension, async |fixture, load| {
        // From a registry: a sidecar keeps the VM of such a module when the table changes, and with it
        // the module's counts.
        let registry = Registry::start(fixture.cluster.folder(), false).await?;
        let good = push_good_module(fixture, &registry).await?;
        let rollout = start(fixture, &good, "12")?;
        let runs = async |fixture: &Fixture| {
            let trial = &status(fixture).await?["trial"];
            Ok(trial["running"] == 1 && trial["sidecars"] == 1)
        };
        fixture.until("the canary's sidecar runs the module", runs).await?;
        pricing_becomes(fixture, "frontend", &[], "pricing-pr-2").await?;
        the_kill_switch_reaches_the_canary(fixture, &load).await?;

        let output = rollout.wait_with_output().await?;
        let outcome = String::from_utf8(output.stdout)?;
        println!("{outcome}");
        anyhow::ensure!(output.status.success(), "{outcome}");
        let all_have_it = async |fixture: &Fixture| {
            let status = status(fixture).await?;
            Ok(status["trial"].is_null() && status["module"] == good)
        };
        fixture.until("all have the module", all_have_it).await?;
        fixture.until("the canary's objects are gone", canary_is_gone).await?;
        for workload in ["frontend", "cart"] {
            pricing_becomes(fixture, workload, &[], "pricing-pr-2").await?;
        }
        for answers in load.stop().await? {
            answers.are_all_right()?;
        }

        // `install` with another module replaces the promoted one.
        let first = &fixture.cluster.module_url;
        fixture.skycap(&["install", "--image", "i", "--module-url", first, "--wait", "0"]).await?;
        let is_first = async |fixture: &Fixture| Ok(status(fixture).await?["module"] == *first);
        fixture.until("the installed module", is_first).await?;
        Ok(())
    })
}

async fn the_kill_switch_reaches_the_canary(fixture: &Fixture, load: &Load) -> anyhow::Result<()> {
    for client in [CANARY_CLIENT, OTHER_CLIENT] {
        load.expect(client, &["pricing", "pricing-pr-2"])?;
    }
    for (data, before, after) in [
        (json!({"enabled": "false"}), "pricing-pr-2", "pricing"),
        (json!({}), "pricing", "pricing-pr-2"),
    ] {
        fixture.apply(&settings(data)).await?;
        for workload in ["frontend", "cart"] {
            pricing_becomes(fixture, workload, &[before], after).await?;
        }
    }
    for client in [CANARY_CLIENT, OTHER_CLIENT] {
        load.expect(client, &["pricing-pr-2"])?;
    }
    Ok(())
}

#[test]
fn a_bad_module_is_backed_out() -> anyhow::Result<()> {
    // The reason, and at most how many of the canary's requests are lost.
    for (fault, reason, lost) in [
        (Fault::RefusesTable, ": 5xx rate ", 400),
        (Fault::Traps, ": the module decided only ", 10),
        (Fault::IsSlow, ": mean latency ", 0),
        (Fault::RoutesNothing, "have the outcome `no_key`", 0),
        (Fault::RoutesWrong, "have the outcome `", 0),
    ] {
        with_load(PluginKind::WasmPlugin, async |fixture, load| {
            let plugin = format!("istio-system.{CANARY}");
            let bad = write_module(fixture, "bad", &faulty::module(fault, &plugin)?)?;
            let output = start(fixture, &bad, "25")?.wait_with_output().await?;
            let outcome = String::from_utf8(output.stdout)?;
            println!("{outcome}");
            anyhow::ensure!(output.status.code() == Some(1), "{fault:?}: {outcome}");
            anyhow::ensure!(outcome.contains(reason), "{fault:?}: {outcome}");
            fixture.until("the canary's objects are gone", canary_is_gone).await?;
            let first = &fixture.cluster.module_url;
            let module = &status(fixture).await?["module"];
            anyhow::ensure!(module == first, "{fault:?}: all have {module}");
            // The canary's sidecar gets the old module again.
            let serves = async |_: &Fixture| {
                Ok(send_from("frontend", "pricing.shop", &[KEY]).await? == "pricing-pr-2")
            };
            fixture.until("the canary has the old module again", serves).await?;
            let answers = load.stop().await?;
            println!("{fault:?}, the canary's requests: {:?}", answers[CANARY_CLIENT]);
            anyhow::ensure!(answers[CANARY_CLIENT].lost <= lost, "{fault:?}: too many are lost");
            answers[OTHER_CLIENT].are_all_right().with_context(|| format!("{fault:?}"))
        })?;
    }
    Ok(())
}

#[test]
fn a_canary_without_a_decision_ends_by_itself() -> anyhow::Result<()> {
    with_load(PluginKind::TrafficExtension, async |fixture, load| {
        let good = write_good_module(fixture)?;
        let watcher = start(fixture, &good, "300")?;
        fixture.until("the canary is in place", canary_is_in_place).await?;
        let again = ["rollout", "start", "--module-url", &good, "--canary", "app=cart"];
        let second = fixture.skycap_fails(&again, 1).await?;
        anyhow::ensure!(second.contains(&good), "a second canary: {second}");
        drop(watcher);
        // As if the five minutes were over.
        let until = Timestamp::now() + SignedDuration::from_secs(2);
        let data = json!({"canary": good, "selector": "app=frontend", "until": until});
        let mut rollout = fragment("rollout", ROLLOUT, data);
        rollout["metadata"]["namespace"] = NAMESPACE.into();
        fixture.apply(&rollout).await?;
        fixture.until("the canary's objects are gone", canary_is_gone).await?;
        pricing_becomes(fixture, "frontend", &[], "pricing-pr-2").await?;
        for answers in load.stop().await? {
            answers.are_all_right()?;
        }
        Ok(())
    })
}

#[test]
fn a_user_may_decide_while_the_canary_is_watched() -> anyhow::Result<()> {
    with_load(PluginKind::TrafficExtension, async |fixture, load| {
        fixture.skycap_fails(&["rollout", "promote"], 1).await?;
        let good = write_good_module(fixture)?;
        let nowhere = ["rollout", "start", "--module-url", &good, "--canary", "app=none"];
        let message = fixture.skycap_fails(&nowhere, 1).await?;
        anyhow::ensure!(message.contains("`app=none`"), "{message}");
        anyhow::ensure!(canary_is_gone(fixture).await?, "a canary without workloads");
        let watcher = start(fixture, &good, "300")?;
        fixture.until("the canary is in place", canary_is_in_place).await?;
        fixture.skycap(&["rollout", "promote"]).await?;
        // The watcher ends, and takes nothing back.
        let output = watcher.wait_with_output().await?;
        anyhow::ensure!(output.status.success(), "{output:?}");
        let is_promoted = async |fixture: &Fixture| Ok(status(fixture).await?["module"] == good);
        fixture.until("all have the module", is_promoted).await?;
        for answers in load.stop().await? {
            answers.are_all_right()?;
        }
        Ok(())
    })
}

/// Runs a test with a shop in which `pr-2` replaces the pricing, and with requests of two workloads.
fn with_load(
    plugin: PluginKind,
    test: impl AsyncFnOnce(&mut Fixture, Load) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    run(plugin, async |fixture: &mut Fixture| {
        fixture.cluster.module_url = format!("file://{}", module_path()?.display());
        fixture.apply(&sandbox("pr-2", json!({"routes": "pricing: pricing-pr-2"}))).await?;
        let _shop = IstioShop::open(fixture, &["frontend", "cart"]).await?;
        for workload in ["frontend", "cart"] {
            pricing_becomes(fixture, workload, &["pricing"], "pricing-pr-2").await?;
        }
        let load = Load::start(&["frontend", "cart"].map(|workload| Requests {
            from: workload,
            key: Some(KEY),
            answered_by: "pricing-pr-2",
        }));
        // The verdict compares with the time before. Envoy updates its histograms every five seconds.
        tokio::time::sleep(std::time::Duration::from_secs(7)).await;
        test(fixture, load).await
    })
}

fn start(fixture: &Fixture, module: &str, window: &str) -> anyhow::Result<Child> {
    let args = ["rollout", "start", "--module-url", module, "--canary", "app=frontend"];
    let limits = ["--window", window, "--start", "10"];
    let mut command = fixture.command(&[&args[..], &limits].concat())?;
    Ok(command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?)
}

async fn status(fixture: &Fixture) -> anyhow::Result<Value> {
    let status = fixture.skycap(&["rollout", "status", "-o", "json"]).await?;
    Ok(serde_json::from_str(&status)?)
}

/// A module that does the same as the installed one, with other bytes.
fn write_good_module(fixture: &Fixture) -> anyhow::Result<String> {
    write_module(fixture, "good", &faulty::renamed(&std::fs::read(module_path()?)?))
}

/// The same module in a registry. Returns its address with the digest.
async fn push_good_module(fixture: &Fixture, registry: &Registry) -> anyhow::Result<String> {
    let file = write_good_module(fixture)?;
    let module = file.strip_prefix("file://").unwrap_or_default();
    let at = format!("oci://{}/skycap/filter:good", registry.address);
    let pinned = fixture.skycap(&["plugin", "push", &at, "--module", module]).await?;
    Ok(pinned.trim().to_owned())
}

fn write_module(fixture: &Fixture, name: &str, module: &[u8]) -> anyhow::Result<String> {
    let path = fixture.cluster.folder().join(format!("{name}.wasm"));
    std::fs::write(&path, module)?;
    Ok(format!("file://{}", path.display()))
}

async fn canary_is_gone(fixture: &Fixture) -> anyhow::Result<bool> {
    let live = api::read(&fixture.cluster.client, &fixture.mesh.references()).await?;
    Ok(live.keys().all(|reference| reference.name != CANARY))
}

async fn canary_is_in_place(fixture: &Fixture) -> anyhow::Result<bool> {
    Ok(!canary_is_gone(fixture).await?)
}
