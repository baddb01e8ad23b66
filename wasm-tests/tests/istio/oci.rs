//! The module in a real registry: pushed by the command, pulled by Istio's own agent.

use std::fs;

use serde_json::{Value, json};
use skycap::desired::istio::PluginKind;
use skycap_tests::{
    cluster::{Controller, Registry, SigningKey, USER},
    envoy,
    fixture::{
        Fixture,
        istio_shop::{IstioShop, pricing_becomes, send_from},
        manifests::sandbox,
        module_path, run,
    },
};

#[test]
fn a_module_is_pushed_and_found_again() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let registry = Registry::start(fixture.cluster.folder(), false).await?;
        let module = module_path()?.display().to_string();
        for layout in ["artifact", "compat"] {
            let at = format!("oci://{}/skycap/filter:{layout}", registry.address);
            let push = ["plugin", "push", &at, "--module", &module, "--layout", layout];
            let pinned = fixture.skycap(&push).await?;
            let again = fixture.skycap(&push).await?;
            anyhow::ensure!(again == pinned, "the digest was {pinned} and is now {again}");
            let seen = fixture.skycap(&["plugin", "inspect", &at, "-o", "json"]).await?;
            let seen: Value = serde_json::from_str(&seen)?;
            anyhow::ensure!(
                seen["pinned"] == pinned.trim() && seen["layout"] == layout,
                "{layout}: {seen}"
            );
            // `install` pins the tag to the digest that it has now.
            let install = ["install", "--dry-run", "--image", "i", "--module-url", &at];
            let plan = fixture.run_skycap(&install).await?;
            let progress = String::from_utf8_lossy(&plan.stderr);
            anyhow::ensure!(progress.contains(pinned.trim()), "not pinned: {plan:?}");
        }
        let missing = format!("oci://{}/skycap/filter:none", registry.address);
        let message = fixture.skycap_fails(&["plugin", "inspect", &missing], 1).await?;
        anyhow::ensure!(message.contains("plugin push"), "{message}");
        let text = fixture.cluster.folder().join("text.wasm");
        fs::write(&text, "no module")?;
        let text = text.display().to_string();
        let push = ["plugin", "push", &missing, "--module", &text];
        let message = fixture.skycap_fails(&push, 1).await?;
        anyhow::ensure!(message.contains("\\0asm"), "{message}");
        fixture.skycap_fails(&["plugin", "inspect", "registry.example.com/skycap"], 2).await?;
        Ok(())
    })
}

/// The key is made here, and the signature is what `cosign sign --key` puts into the registry.
#[test]
fn a_module_must_be_signed_with_the_key() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let registry = Registry::start(fixture.cluster.folder(), false).await?;
        let (own, other) = (SigningKey::generate()?, SigningKey::generate()?);
        let folder = fixture.cluster.folder();
        let (own_file, other_file) = (folder.join("cosign.pub"), folder.join("other.pub"));
        fs::write(&own_file, own.public_pem())?;
        fs::write(&other_file, other.public_pem())?;
        let (own_file, other_file) = (own_file.to_string_lossy(), other_file.to_string_lossy());
        let at = format!("oci://{}/skycap/filter:1", registry.address);
        let module = module_path()?.display().to_string();
        let pinned = fixture.skycap(&["plugin", "push", &at, "--module", &module]).await?;
        let pinned = pinned.trim();
        let inspect = ["plugin", "inspect", pinned, "--verify-key", &own_file];
        let rollout = ["rollout", "start", "--module-url", pinned, "--canary", "app=none"];
        let install = ["install", "--dry-run", "--image", "i", "--module-url", &at];
        let rollout = [&rollout[..], &["--verify-key", &own_file]].concat();
        let install = [&install[..], &["--verify-key", &own_file]].concat();
        for command in [&inspect[..], &rollout, &install] {
            let message = fixture.skycap_fails(command, 1).await?;
            anyhow::ensure!(message.contains("has no signature"), "{command:?}: {message}");
        }
        let table = fixture.skycap(&inspect[..3]).await?;
        anyhow::ensure!(table.contains("signature    none"), "{table}");

        // Somebody else's signature, and the right key's signature of another module.
        let (_, digest) = pinned.split_once('@').unwrap_or_default();
        let zeros = format!("sha256:{}", "0".repeat(64));
        registry.sign(pinned, &[(&other, digest), (&own, &zeros)]).await?;
        for command in [&inspect[..], &rollout, &install] {
            let message = fixture.skycap_fails(command, 1).await?;
            anyhow::ensure!(message.contains("none of the 2 signatures"), "{command:?}: {message}");
        }
        registry.sign(pinned, &[(&other, digest), (&own, digest)]).await?;
        let table = fixture.skycap(&inspect).await?;
        anyhow::ensure!(table.contains("signature    valid for the key"), "{table}");
        fixture.skycap(&install).await?;
        // A signed module is rolled out, if there is a workload for it.
        let message = fixture.skycap_fails(&rollout, 1).await?;
        anyhow::ensure!(message.contains("no sidecar has the labels"), "{message}");
        let with_other = ["plugin", "inspect", pinned, "--verify-key", &other_file];
        fixture.skycap(&with_other).await?;
        let file = ["plugin", "inspect", pinned, "--verify-key", &module];
        let message = fixture.skycap_fails(&file, 1).await?;
        anyhow::ensure!(message.contains("BEGIN PUBLIC KEY"), "{message}");
        Ok(())
    })
}

#[test]
fn a_locked_registry_needs_credentials() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let module = module_path()?.display().to_string();
        let locked = Registry::start(fixture.cluster.folder(), true).await?;
        let at = format!("oci://{}/skycap/filter:1", locked.address);
        let push = ["plugin", "push", &at, "--module", &module];
        let message = fixture.skycap_fails(&push, 1).await?;
        anyhow::ensure!(message.contains("docker login"), "{message}");
        let credentials = fixture.cluster.folder().join("docker");
        fs::create_dir_all(&credentials)?;
        let docker = json!({"auths": {locked.address.to_string(): {"auth": USER_BASE64}}});
        fs::write(credentials.join("config.json"), docker.to_string())?;
        let mut command = fixture.command(&push)?;
        let output = command.env("DOCKER_CONFIG", &credentials).output().await?;
        anyhow::ensure!(output.status.success(), "with the password of {}: {output:?}", USER.0);
        Ok(())
    })
}

#[test]
fn the_agent_pulls_the_module_and_requests_pass_without_it() -> anyhow::Result<()> {
    run(PluginKind::TrafficExtension, async |fixture: &mut Fixture| {
        let mut registry = Registry::start(fixture.cluster.folder(), false).await?;
        let module = module_path()?.display().to_string();
        let at = format!("oci://{}/skycap/filter:1", registry.address);
        let pinned = fixture.skycap(&["plugin", "push", &at, "--module", &module]).await?;
        fixture.cluster.module_url = pinned.trim().into();
        fixture.apply(&sandbox("pr-2", json!({"routes": "pricing: pricing-pr-2"}))).await?;
        let mut shop = IstioShop::open(fixture, &["frontend"]).await?;
        pricing_becomes(fixture, "frontend", &["pricing"], "pricing-pr-2").await?;
        was_fetched_once(&shop).await?;
        one_sidecar_is_current(fixture).await?;

        registry.stop().await?;
        // A new table needs no new module.
        fixture.apply(&sandbox("pr-3", json!({"routes": "pricing: cart"}))).await?;
        fixture.has_key("pr-3", true, "a new table while the registry is down").await?;
        one_sidecar_is_current(fixture).await?;
        pricing_becomes(fixture, "frontend", &[], "pricing-pr-2").await?;
        was_fetched_once(&shop).await?;

        shop.restart(fixture, &envoy::obtain()?, "frontend").await?;
        pricing_becomes(fixture, "frontend", &[], "pricing").await?;
        // Without the module, Envoy itself removes a client's dispatch header.
        let forged = ("x-skycap-cluster", "outbound|80||pricing-pr-2.shop.svc.cluster.local");
        let path = send_from("frontend", "pricing.shop", &[forged]).await?;
        anyhow::ensure!(path == "pricing", "without the module, a forged header reaches {path}");
        one_sidecar_lacks_the_module(fixture).await?;

        registry.resume().await?;
        fixture.apply(&sandbox("pr-3", json!({"enabled": "false"}))).await?;
        pricing_becomes(fixture, "frontend", &["pricing"], "pricing-pr-2").await?;
        one_sidecar_is_current(fixture).await?;
        wrong_addresses_are_reported(fixture, &mut shop, pinned.trim()).await
    })
}

/// Restarts the controller with module URLs that do not exist.
async fn wrong_addresses_are_reported(
    fixture: &mut Fixture,
    shop: &mut IstioShop,
    pinned: &str,
) -> anyhow::Result<()> {
    let (repository, _) = pinned.split_once('@').unwrap_or_default();
    for wrong in [format!("{repository}@sha256:{}", "0".repeat(64)), format!("{repository}:no")] {
        if let Some(controller) = shop.controller.take() {
            controller.terminate().await?;
        }
        fixture.cluster.module_url.clone_from(&wrong);
        shop.controller = Some(Controller::start(&fixture.cluster, "two", &[]).await?);
        pricing_becomes(fixture, "frontend", &["pricing-pr-2"], "pricing").await?;
        one_sidecar_lacks_the_module(fixture).await?;
    }
    Ok(())
}

async fn was_fetched_once(shop: &IstioShop) -> anyhow::Result<()> {
    let agent = shop.agent("frontend")?;
    let fetches = agent.metric("istio_agent_wasm_remote_fetch_count", &[]).await?;
    anyhow::ensure!(fetches == 1.0, "the module was fetched {fetches} times");
    Ok(())
}

async fn one_sidecar_is_current(fixture: &Fixture) -> anyhow::Result<()> {
    let is_current = async |fixture: &Fixture| {
        let sidecars = &status(fixture).await?["sidecars"];
        Ok(sidecars["current"] == 1 && sidecars["total"] == 1)
    };
    fixture.until("the sidecar serves the table", is_current).await?;
    Ok(())
}

async fn one_sidecar_lacks_the_module(fixture: &Fixture) -> anyhow::Result<()> {
    let lacks_module = async |fixture: &Fixture| {
        let status = status(fixture).await?;
        let reason = status["sidecars"]["behind"]["shop/frontend-1"].as_str().unwrap_or_default();
        Ok(status["sidecars"]["current"] == 0 && reason.contains("skycap plugin inspect"))
    };
    fixture.until("status reports a sidecar without the module", lacks_module).await?;
    Ok(())
}

async fn status(fixture: &Fixture) -> anyhow::Result<Value> {
    let status = fixture.skycap_status(&["status", "-o", "json"]).await?;
    Ok(serde_json::from_str(&status)?)
}

/// [`USER`] in the encoding of Docker's configuration.
const USER_BASE64: &str = "cG9ydGVyOmJhZ2dhZ2U=";
