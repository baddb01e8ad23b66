//! The module by way of a real registry: pushed by the command, pulled by Istio's own agent.

mod kubernetes;

use kubernetes::{
    Fixture,
    mesh::{Mesh, from},
    run, sandbox,
};
use serde_json::{Value, json};
use skycap::desired::istio::PluginKind;
use skycap_tests::{
    cluster::{Controller, Registry, USER},
    envoy, module,
};

#[test]
fn a_module_is_pushed_and_found_again() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let registry = Registry::start(fixture.cluster.folder(), false).await?;
        let module = module::build()?.display().to_string();
        for layout in ["artifact", "compat"] {
            let at = format!("oci://{}/skycap/filter:{layout}", registry.address);
            let push = ["plugin", "push", &at, "--module", &module, "--layout", layout];
            let pinned = fixture.skycap(&push).await?;
            anyhow::ensure!(fixture.skycap(&push).await? == pinned, "another digest the next time");
            let seen = fixture.skycap(&["plugin", "inspect", &at, "-o", "json"]).await?;
            let seen: Value = serde_json::from_str(&seen)?;
            anyhow::ensure!(
                seen["pinned"] == pinned.trim() && seen["layout"] == layout,
                "{layout}: {seen}"
            );
            // What is installed names what lies there now, not what will.
            let install = ["install", "--dry-run", "--module-url", &at];
            let plan = fixture.run_skycap(&install).await?;
            let told = String::from_utf8_lossy(&plan.stderr);
            anyhow::ensure!(told.contains(pinned.trim()), "not pinned: {plan:?}");
        }
        let missing = format!("oci://{}/skycap/filter:none", registry.address);
        let said = fixture.skycap_fails(&["plugin", "inspect", &missing], 1).await?;
        anyhow::ensure!(said.contains("there is no such module"), "{said}");
        let said =
            fixture.skycap_fails(&["plugin", "push", &missing, "--module", "Cargo.toml"], 1).await;
        anyhow::ensure!(said?.contains("no wasm module"), "a text was pushed");
        fixture.skycap_fails(&["plugin", "inspect", "registry.example.com/skycap"], 2).await?;

        let locked = Registry::start(fixture.cluster.folder(), true).await?;
        let at = format!("oci://{}/skycap/filter:1", locked.address);
        let push = ["plugin", "push", &at, "--module", &module];
        let said = fixture.skycap_fails(&push, 1).await?;
        anyhow::ensure!(said.contains("docker login"), "{said}");
        let credentials = fixture.cluster.folder().join("docker");
        std::fs::create_dir_all(&credentials)?;
        let docker = json!({"auths": {locked.address.to_string(): {"auth": USER_BASE64}}});
        std::fs::write(credentials.join("config.json"), docker.to_string())?;
        let mut command = fixture.command(&push)?;
        let output = command.env("DOCKER_CONFIG", &credentials).output().await?;
        anyhow::ensure!(output.status.success(), "{} with its password: {output:?}", USER.0);
        Ok(())
    })
}

#[test]
fn istios_agent_pulls_it_and_without_it_traffic_flows() -> anyhow::Result<()> {
    run(PluginKind::TrafficExtension, async |fixture: &mut Fixture| {
        let mut registry = Registry::start(fixture.cluster.folder(), false).await?;
        let module = module::build()?.display().to_string();
        let at = format!("oci://{}/skycap/filter:1", registry.address);
        let pinned = fixture.skycap(&["plugin", "push", &at, "--module", &module]).await?;
        fixture.cluster.module_url = pinned.trim().into();
        fixture.apply(&sandbox("pr-2", json!({"routes": "pricing: pricing-pr-2"}))).await?;
        let mut mesh = Mesh::open(fixture, &["frontend"]).await?;
        leads_to(fixture, "pricing-pr-2", "the module by its digest").await?;
        let fetched = async |mesh: &Mesh| {
            mesh.agent("frontend").metric("istio_agent_wasm_remote_fetch_count", &[]).await
        };
        anyhow::ensure!(fetched(&mesh).await? == 1.0, "fetched more than once");
        status_says(fixture, "1 of 1 serve the table").await?;

        registry.stop().await?;
        fixture.apply(&sandbox("pr-3", json!({"routes": "pricing: cart"}))).await?;
        status_says(fixture, "1 of 1 serve the table").await?;
        leads_to(fixture, "pricing-pr-2", "a new table while the registry is down").await?;
        anyhow::ensure!(fetched(&mesh).await? == 1.0, "a table is no reason to fetch");

        mesh.restart(fixture, &envoy::obtain()?, "frontend").await?;
        leads_to(fixture, "pricing", "a new sidecar while the registry is down").await?;
        // Nobody is there to take a client's own dispatch header away, but Envoy.
        let forged = ("x-skycap-cluster", "outbound|80||pricing-pr-2.shop.svc.cluster.local");
        let way = from("frontend", "pricing.shop", &[forged]).await?;
        anyhow::ensure!(way == "pricing", "without the module a forged header leads to {way}");
        let said = fixture.skycap_fails(&["status"], 1).await?;
        anyhow::ensure!(said.contains("cannot get the module"), "{said}");

        registry.resume().await?;
        fixture.apply(&sandbox("pr-3", json!({"enabled": "false"}))).await?;
        leads_to(fixture, "pricing-pr-2", "the registry is back, and a new table").await?;
        status_says(fixture, "1 of 1 serve the table").await?;

        let (repository, _) = pinned.split_once('@').unwrap_or_default();
        for wrong in [format!("{repository}@sha256:{}", "0".repeat(64)), format!("{repository}:no")]
        {
            fixture.cluster.module_url = wrong.clone();
            drop(mesh.controller.take());
            mesh.controller = Some(Controller::start(&fixture.cluster, "two", &[]).await?);
            leads_to(fixture, "pricing", &wrong).await?;
            let said = fixture.skycap_fails(&["status"], 1).await?;
            anyhow::ensure!(said.contains("cannot get the module"), "{wrong}: {said}");
        }
        Ok(())
    })
}

/// Waits until a sandboxed request of the frontend's for the pricing is answered by this workload.
async fn leads_to(fixture: &Fixture, workload: &str, what: &str) -> anyhow::Result<()> {
    let key = [("baggage", "sandbox=pr-2")];
    let holds = async |_: &Fixture| Ok(from("frontend", "pricing.shop", &key).await? == workload);
    fixture.until(what, holds).await
}

async fn status_says(fixture: &Fixture, wanted: &str) -> anyhow::Result<()> {
    let holds = async |fixture: &Fixture| Ok(fixture.skycap(&["status"]).await?.contains(wanted));
    fixture.until(wanted, holds).await
}

/// [`USER`], as Docker keeps it.
const USER_BASE64: &str = "cG9ydGVyOmJhZ2dhZ2U=";
