//! From a mesh without skycap to one with it and back, on Istio's own programs and under load.

use std::process::Stdio;

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde_json::json;
use skycap::{
    desired::istio::{IstioMesh, PluginKind},
    names::{CONTROLLER, NAMESPACE},
    observed::api,
};
use skycap_tests::{
    cluster::{Controller, mesh},
    fixture::{
        Fixture,
        istio_shop::{IstioShop, pricing_becomes},
        manifests::{sandbox, settings},
        module_path, run, run_without_skycap,
    },
};
use tokio::process::Child;

use super::load::{KEY, Load, Requests};

/// The first client of the load. The other one's requests have no key.
const WITH_KEY: usize = 0;

/// The upgrade is that of a cluster whose Istio has been upgraded to 1.30: the TrafficExtension replaces
/// the WasmPlugin.
#[test]
fn install_upgrade_and_uninstall_lose_no_request() -> anyhow::Result<()> {
    run_without_skycap(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        fixture.cluster.module_url = format!("file://{}", module_path()?.display());
        let _shop = IstioShop::without_skycap(fixture, &["frontend", "cart"]).await?;
        let load = Load::start(&[
            Requests { from: "cart", key: Some(KEY), answered_by: "pricing" },
            Requests { from: "frontend", key: None, answered_by: "pricing" },
        ]);
        let controller = install(fixture).await?;
        load.expect(WITH_KEY, &["pricing", "pricing-pr-2"])?;
        fixture.apply(&sandbox("pr-2", json!({"routes": "pricing: pricing-pr-2"}))).await?;
        pricing_becomes(fixture, "cart", &["pricing"], "pricing-pr-2").await?;
        load.expect(WITH_KEY, &["pricing-pr-2"])?;

        another_image_changes_the_deployment_only(fixture).await?;
        // `install` deletes the old plugin when the sidecars serve the table, and the old plugin serves it
        // as well: if the new controller does not lead yet, no plugin is in effect for a moment.
        load.expect(WITH_KEY, &["pricing", "pricing-pr-2"])?;
        let _controller = upgrade(fixture, controller).await?;
        pricing_becomes(fixture, "cart", &["pricing"], "pricing-pr-2").await?;

        fixture.skycap(&["uninstall"]).await?;
        pricing_becomes(fixture, "cart", &["pricing-pr-2"], "pricing").await?;
        fixture.nothing_is_left().await?;
        for answers in load.stop().await? {
            println!("from before install to after uninstall: {answers:?}");
            answers.are_all_right()?;
        }
        Ok(())
    })
}

/// An upgrade that closes the edge says so, and how to open it.
#[test]
fn an_upgrade_says_that_it_closes_the_edge() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let install =
            ["install", "--dry-run", "--image", "i", "--module-url", "file:///skycap.wasm"];
        let sync = ["sync", "--module-url", "file:///skycap.wasm"];
        let warns = async |fixture: &Fixture| {
            let output = fixture.run_skycap(&install).await?;
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            anyhow::ensure!(output.status.success(), "{text}");
            Ok(text.contains("has no effect any more") && text.contains("accept: open"))
        };
        anyhow::ensure!(!warns(fixture).await?, "there is nothing to upgrade");
        fixture.apply(&settings(json!({"edge": "accept: open"}))).await?;
        fixture.skycap(&sync).await?;
        anyhow::ensure!(!warns(fixture).await?, "the edge stays open");
        fixture.apply(&settings(json!({}))).await?;
        anyhow::ensure!(warns(fixture).await?, "the edge will be closed");
        fixture.skycap(&sync).await?;
        anyhow::ensure!(!warns(fixture).await?, "the edge is closed already");
        Ok(())
    })
}

/// Runs `install` until the sidecars serve the table. Meanwhile the test does the kubelet's part: it
/// starts the controller, and writes that it is available.
async fn install(fixture: &Fixture) -> anyhow::Result<Controller> {
    let installing = start_install(fixture, "skycap:1")?;
    let is_applied = async |fixture: &Fixture| Ok(fixture.become_available().await.is_ok());
    fixture.until("the Deployment", is_applied).await?;
    let controller = Controller::start(&fixture.cluster, "one", &[]).await?;
    let output = installing.wait_with_output().await?;
    let progress = String::from_utf8(output.stderr)?;
    anyhow::ensure!(
        output.status.success() && progress.contains("1.31.0") && progress.contains("2 of 2"),
        "{progress}"
    );
    Ok(controller)
}

async fn another_image_changes_the_deployment_only(fixture: &Fixture) -> anyhow::Result<()> {
    let again = fixture.skycap(&install_args(fixture, "skycap:1", "0")).await?;
    anyhow::ensure!(again == "nothing to change\n", "{again}");
    let args = [&install_args(fixture, "skycap:2", "0")[..], &["--dry-run"]].concat();
    let plan = fixture.skycap(&args).await?;
    let objects = plan.lines().filter(|line| !line.starts_with(' '));
    anyhow::ensure!(
        objects.count() == 1 && plan.contains("Deployment") && plan.contains("image: skycap:2"),
        "{plan}"
    );
    Ok(())
}

/// Runs `install` for the newer kind of plugin. The test does the part of a rolling update: the new
/// replica becomes ready, then the old one ends, and then the Deployment is complete.
async fn upgrade(fixture: &mut Fixture, old: Controller) -> anyhow::Result<Controller> {
    let old_plugin = fixture.mesh.references().swap_remove(0);
    fixture.cluster.plugin = PluginKind::TrafficExtension;
    fixture.mesh = IstioMesh {
        module_url: fixture.cluster.module_url.clone(),
        ..mesh(PluginKind::TrafficExtension)
    };
    let before = deployment_generation(fixture).await?;
    let installing = start_install(fixture, "skycap:2")?;
    let is_applied = async |fixture: &Fixture| Ok(deployment_generation(fixture).await? > before);
    fixture.until("the Deployment", is_applied).await?;
    let new = Controller::start(&fixture.cluster, "two", &[]).await?;
    anyhow::ensure!(old.terminate().await?, "SIGTERM: the exit code is not 0");
    fixture.become_available().await?;
    let output = installing.wait_with_output().await?;
    anyhow::ensure!(output.status.success(), "{output:?}");
    let left = api::read(&fixture.cluster.client, &[old_plugin]).await?;
    anyhow::ensure!(left.is_empty(), "both kinds of plugin are in effect");
    fixture.is_settled("the new plugin").await?;
    Ok(new)
}

fn start_install(fixture: &Fixture, image: &str) -> anyhow::Result<Child> {
    let mut command = fixture.command(&install_args(fixture, image, "30"))?;
    Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

fn install_args<'a>(fixture: &'a Fixture, image: &'a str, wait: &'a str) -> [&'a str; 9] {
    let url = fixture.cluster.module_url.as_str();
    let plugin = fixture.cluster.plugin.kind().1;
    ["install", "--plugin", plugin, "--image", image, "--module-url", url, "--wait", wait]
}

async fn deployment_generation(fixture: &Fixture) -> anyhow::Result<i64> {
    let deployments = Api::<Deployment>::namespaced(fixture.cluster.client.clone(), NAMESPACE);
    Ok(deployments.get(CONTROLLER).await?.metadata.generation.unwrap_or(0))
}
