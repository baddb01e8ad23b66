//! From a mesh without skycap to one with it and back, on Istio's own programs and under load.

use std::process::Stdio;

use serde_json::json;
use skycap::{desired::istio::PluginKind, observed::api};
use skycap_tests::{
    cluster::Controller,
    fixture::{
        Fixture,
        istio_shop::{IstioShop, pricing_becomes},
        manifests::sandbox,
        module_path, run_without_skycap,
    },
};

use super::load::{KEY, Load};

/// The clients of the load: one with a key, and one without.
const WITH_KEY: usize = 0;

#[test]
fn install_upgrade_and_uninstall_lose_no_request() -> anyhow::Result<()> {
    run_without_skycap(PluginKind::TrafficExtension, async |fixture: &mut Fixture| {
        let url = format!("file://{}", module_path()?.display());
        fixture.cluster.module_url = url.clone();
        let _shop = IstioShop::without_skycap(fixture, &["frontend", "cart"]).await?;
        let load = Load::start(&[("cart", &[KEY], "pricing"), ("frontend", &[], "pricing")]);
        let _controller = install(fixture, &url).await?;
        load.expect(WITH_KEY, &["pricing", "pricing-pr-2"])?;
        fixture.apply(&sandbox("pr-2", json!({"routes": "pricing: pricing-pr-2"}))).await?;
        pricing_becomes(fixture, "cart", &["pricing"], "pricing-pr-2").await?;
        load.expect(WITH_KEY, &["pricing-pr-2"])?;

        upgrade(fixture, &url).await?;
        replace_old_plugin(fixture, &url).await?;

        load.expect(WITH_KEY, &["pricing", "pricing-pr-2"])?;
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

/// Runs `install` until the sidecars serve the table. Meanwhile the test does the kubelet's part: it
/// starts the controller, and writes that it is available.
async fn install(fixture: &Fixture, url: &str) -> anyhow::Result<Controller> {
    let args = ["install", "--image", "skycap:1", "--module-url", url, "--wait", "30"];
    let mut command = fixture.command(&args)?;
    let installing = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
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

/// The same again changes nothing, and another image changes only the Deployment.
async fn upgrade(fixture: &Fixture, url: &str) -> anyhow::Result<()> {
    let install = |image| ["install", "--image", image, "--module-url", url, "--wait", "0"];
    let again = fixture.skycap(&install("skycap:1")).await?;
    anyhow::ensure!(again == "nothing to change\n", "{again}");
    let plan = fixture.skycap(&install("skycap:2")).await?;
    let objects = plan.lines().filter(|line| line.contains(" skycap-system/"));
    anyhow::ensure!(
        objects.count() == 1 && plan.contains("Deployment") && plan.contains("image: skycap:2"),
        "{plan}"
    );
    fixture.become_available().await
}

/// An installation from before Istio 1.30 has a WasmPlugin: `install` replaces it.
async fn replace_old_plugin(fixture: &Fixture, url: &str) -> anyhow::Result<()> {
    let old = &fixture.mesh.of_other_kind()[..1];
    let reference = &old[0];
    let wasm_plugin = json!({
        "apiVersion": reference.api_version,
        "kind": reference.kind,
        "metadata": {
            "name": reference.name,
            "namespace": "istio-system",
            "labels": {"app.kubernetes.io/managed-by": "skycap"},
        },
        "spec": {"url": url, "match": [{"mode": "CLIENT"}]},
    });
    fixture.apply(&wasm_plugin).await?;
    fixture.skycap(&["install", "--image", "skycap:2", "--module-url", url]).await?;
    let left = api::read(&fixture.cluster.client, old).await?;
    anyhow::ensure!(left.is_empty(), "both kinds of plugin are in effect");
    Ok(())
}
