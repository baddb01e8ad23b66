//! A new module on some workloads first: given to all when it is good, taken back when it is not, and
//! nobody else touched meanwhile.

mod kubernetes;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use kubernetes::{
    Fixture,
    mesh::{Mesh, from},
    run, sandbox, settings,
};
use serde_json::json;
use skycap::desired::istio::PluginKind;
use skycap_tests::{
    faulty::{self, Fault},
    module,
};
use tokio::task::JoinHandle;

#[test]
fn a_good_module_is_promoted() -> anyhow::Result<()> {
    with_load(PluginKind::TrafficExtension, async |fixture, load| {
        let good = write(fixture, "good", &faulty::renamed(&std::fs::read(module::build()?)?))?;
        let rollout = start(fixture, &good, "12")?;
        let status = async |wanted: &str| {
            let holds = async |fixture: &Fixture| {
                Ok(fixture.skycap(&["rollout", "status"]).await?.contains(wanted))
            };
            fixture.until(wanted, holds).await
        };
        status("runs in 1 of 1 sidecars").await?;
        leads_to(fixture, "frontend", "pricing-pr-2").await?;
        // The kill switch and the table reach the canary as everybody.
        let begun = Instant::now();
        fixture.apply(&settings(json!({"enabled": "false"}))).await?;
        leads_to(fixture, "frontend", "pricing").await?;
        let took = begun.elapsed();
        anyhow::ensure!(took < Duration::from_secs(2), "the kill switch took {took:?}");
        fixture.apply(&settings(json!({}))).await?;
        leads_to(fixture, "frontend", "pricing-pr-2").await?;

        let output = rollout.wait_with_output().await?;
        let said = String::from_utf8(output.stdout)?;
        println!("{said}");
        anyhow::ensure!(output.status.success() && said.starts_with("promoted"), "{said}");
        status("on trial   none").await?;
        let has_it = async |fixture: &Fixture| {
            Ok(fixture
                .skycap(&["rollout", "status"])
                .await?
                .contains(&format!("module     {good}")))
        };
        fixture.until("everybody has it", has_it).await?;
        for workload in ["frontend", "cart"] {
            leads_to(fixture, workload, "pricing-pr-2").await?;
        }
        fixture.until("the canary's objects are gone", canary_is_gone).await?;
        let lost = load.stop().await?;
        anyhow::ensure!(lost == [0, 0], "{lost:?} requests of the canary and of others were lost");

        // Who installs another module means that one.
        let first = &fixture.cluster.module_url;
        fixture.skycap(&["install", "--image", "i", "--module-url", first, "--wait", "0"]).await?;
        status(&format!("module     {first}")).await
    })
}

#[test]
fn a_bad_module_is_backed_out() -> anyhow::Result<()> {
    for (fault, why) in [
        (Fault::RefusesTable, "got a 5xx, before it were 0.0 %"),
        (Fault::Traps, "and the module saw"),
        (Fault::IsSlow, "ms in the mean"),
    ] {
        with_load(PluginKind::WasmPlugin, async |fixture, load| {
            let plugin = "istio-system.skycap-canary";
            let bad = write(fixture, "bad", &faulty::module(fault, plugin)?)?;
            let output = start(fixture, &bad, "25")?.wait_with_output().await?;
            let said = String::from_utf8(output.stdout)?;
            println!("{said}");
            anyhow::ensure!(output.status.code() == Some(1), "{fault:?}: {said}");
            anyhow::ensure!(said.contains("backed out") && said.contains(why), "{fault:?}: {said}");
            fixture.until("the canary's objects are gone", canary_is_gone).await?;
            for workload in ["frontend", "cart"] {
                leads_to(fixture, workload, "pricing-pr-2").await?;
            }
            let [canary, others] = load.stop().await?;
            println!("{fault:?}: {canary} requests of the canary were lost");
            anyhow::ensure!(others == 0, "{fault:?}: {others} requests of others were lost");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_canary_that_nobody_decides_ends_by_itself() -> anyhow::Result<()> {
    with_load(PluginKind::TrafficExtension, async |fixture, load| {
        let good = write(fixture, "good", &faulty::renamed(&std::fs::read(module::build()?)?))?;
        let watcher = start(fixture, &good, "300")?;
        let in_place = async |fixture: &Fixture| Ok(!canary_is_gone(fixture).await?);
        fixture.until("the canary is in place", in_place).await?;
        let again = ["rollout", "start", "--image", &good, "--canary", "app=cart"];
        let second = fixture.skycap_fails(&again, 1);
        anyhow::ensure!(second.await?.contains("is on trial already"), "two at a time");
        drop(watcher);
        // As when the five minutes are over.
        let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
        let data = json!({"canary": good, "selector": "app=frontend", "until": until});
        fixture.apply(&named("skycap-rollout", "skycap-system", "rollout", data)).await?;
        fixture.until("the canary's objects are gone", canary_is_gone).await?;
        leads_to(fixture, "frontend", "pricing-pr-2").await?;
        let lost = load.stop().await?;
        anyhow::ensure!(lost == [0, 0], "{lost:?} requests of the canary and of others were lost");

        let said = fixture.skycap_fails(&["rollout", "promote"], 1).await?;
        anyhow::ensure!(said.contains("no module is on trial"), "{said}");

        // By hand, while it is watched: the watcher takes nothing back.
        let watcher = start(fixture, &good, "300")?;
        fixture.until("the canary is in place", in_place).await?;
        fixture.skycap(&["rollout", "promote"]).await?;
        let output = watcher.wait_with_output().await?;
        anyhow::ensure!(output.status.success(), "{output:?}");
        let status = fixture.skycap(&["rollout", "status"]).await?;
        anyhow::ensure!(status.contains(&format!("module     {good}")), "{status}");
        let nobody = ["rollout", "start", "--image", &good, "--canary", "app=none"];
        let said = fixture.skycap_fails(&nobody, 1);
        anyhow::ensure!(said.await?.contains("nothing is changed"), "a canary of nobody");
        Ok(())
    })
}

/// Sends sandboxed requests by two sidecars until it is stopped.
struct Load {
    running: Arc<AtomicBool>,
    lost: [Arc<AtomicUsize>; 2],
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    fn start() -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let lost = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
        let tasks = ["frontend", "cart"].iter().zip(&lost).map(|(workload, lost)| {
            tokio::spawn(send(workload, Arc::clone(&running), Arc::clone(lost)))
        });
        Self { tasks: tasks.collect(), running, lost }
    }

    /// The requests that got no answer of 200: the frontend's, and the cart's.
    async fn stop(self) -> anyhow::Result<[usize; 2]> {
        self.running.store(false, Ordering::Relaxed);
        for task in self.tasks {
            task.await?;
        }
        Ok(self.lost.map(|lost| lost.load(Ordering::Relaxed)))
    }
}

async fn send(workload: &str, running: Arc<AtomicBool>, lost: Arc<AtomicUsize>) {
    while running.load(Ordering::Relaxed) {
        let answer = from(workload, "pricing.shop", &[KEY]).await;
        if !answer.is_ok_and(|way| way.starts_with("pricing")) {
            lost.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A shop in which `pr-2` replaces the pricing, with two sidecars under load.
fn with_load(
    plugin: PluginKind,
    test: impl AsyncFnOnce(&mut Fixture, Load) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    run(plugin, async |fixture: &mut Fixture| {
        fixture.cluster.module_url = format!("file://{}", module::build()?.display());
        fixture.apply(&sandbox("pr-2", json!({"routes": "pricing: pricing-pr-2"}))).await?;
        let _mesh = Mesh::open(fixture, &["frontend", "cart"]).await?;
        for workload in ["frontend", "cart"] {
            leads_to(fixture, workload, "pricing-pr-2").await?;
        }
        let load = Load::start();
        // A past to compare with: Envoy tells its histograms every five seconds.
        tokio::time::sleep(Duration::from_secs(7)).await;
        test(fixture, load).await
    })
}

fn start(fixture: &Fixture, module: &str, window: &str) -> anyhow::Result<tokio::process::Child> {
    let args = ["rollout", "start", "--image", module, "--canary", "app=frontend"];
    let limits = ["--window", window, "--start", "10"];
    let mut command = fixture.command(&[&args[..], &limits].concat())?;
    Ok(command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::inherit())
        .spawn()?)
}

fn write(fixture: &Fixture, name: &str, module: &[u8]) -> anyhow::Result<String> {
    let path: PathBuf = fixture.cluster.folder().join(format!("{name}.wasm"));
    std::fs::write(&path, module)?;
    Ok(format!("file://{}", path.display()))
}

async fn canary_is_gone(fixture: &Fixture) -> anyhow::Result<bool> {
    let references = fixture.mesh.references();
    let live = skycap::observed::api::read(&fixture.cluster.client, &references).await?;
    Ok(live.keys().all(|reference| reference.name != skycap::names::CANARY))
}

fn named(name: &str, namespace: &str, kind: &str, data: serde_json::Value) -> serde_json::Value {
    let mut map = sandbox(name, data);
    map["metadata"]["namespace"] = namespace.into();
    map["metadata"]["labels"]["skycap.dev/kind"] = kind.into();
    map
}

/// Waits until a sandboxed request of this workload's for the pricing is answered by `pricing`.
async fn leads_to(fixture: &Fixture, workload: &str, pricing: &str) -> anyhow::Result<()> {
    let holds = async |_: &Fixture| Ok(from(workload, "pricing.shop", &[KEY]).await? == pricing);
    fixture.until(&format!("{workload} to {pricing}"), holds).await
}

const KEY: (&str, &str) = ("baggage", "sandbox=pr-2");
