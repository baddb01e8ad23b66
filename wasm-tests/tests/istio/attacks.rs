//! Attacks by a client on sidecars that a real istiod configures: a forged dispatch header, with the
//! module, without it, and with one that fails.

use std::path::Path;

use anyhow::Context as _;
use kube::{api::DeleteParams, core::DynamicObject};
use serde_json::{Value, json};
use skycap::{desired::istio::PluginKind, names::PLUGIN, observed::api};
use skycap_tests::{
    envoy,
    faulty::{self, Fault},
    fixture::{
        Fixture,
        echo_shop::{ask, cart_becomes, open, with_echo_shop},
        manifests::{sandbox, settings},
        module_path, run,
    },
};

/// With the module absent, `prometheus_stats` once returned the sidecar's admin interface.
#[test]
fn no_cluster_is_reached_by_a_forged_header_without_the_module() -> anyhow::Result<()> {
    with_echo_shop(PluginKind::WasmPlugin, async |fixture, controller, _sidecar| {
        // The dispatch route stays, because nobody is there to remove it.
        controller.kill().await?;
        let plugin = &fixture.mesh.references()[0];
        let api = api::api(&fixture.cluster.client, plugin);
        api.delete(&plugin.name, &DeleteParams::default()).await?;
        cart_becomes(fixture, "no module", &["cart-pr-1"], "cart").await?;
        anyhow::ensure!(fixture.dispatch_route().await?.is_some(), "the dispatch route is gone");
        forged_headers_reach_the_baseline(&[]).await
    })
}

/// A module that traps, and then one that rejects its first table. (If it rejects a later one, the module
/// before it stays.)
#[test]
fn no_cluster_is_reached_by_a_forged_header_with_a_module_that_fails() -> anyhow::Result<()> {
    with_echo_shop(PluginKind::WasmPlugin, async |fixture, controller, sidecar| {
        // The controller would put its own module back.
        controller.kill().await?;
        let plugin = fixture.plugin().await?.context("there is no plugin")?;
        let mut before = "cart-pr-1";
        for fault in [Fault::Traps, Fault::RefusesTable] {
            let api = api::api(&fixture.cluster.client, &fixture.mesh.references()[0]);
            api.delete(PLUGIN, &DeleteParams::default()).await?;
            cart_becomes(fixture, "no module", &[before], "cart").await?;
            before = "cart";
            let file = fixture.cluster.folder().join(format!("{fault:?}.wasm"));
            std::fs::write(&file, faulty::module(fault, "istio-system.skycap")?)?;
            fixture.apply(&with_module(&plugin, &file)).await?;
            let name = file.display().to_string();
            let has_module =
                async |_: &Fixture| Ok(sidecar.admin("/config_dump").await?.contains(&name));
            fixture.until(&format!("the sidecar has {name}"), has_module).await?;
            // Far more than each worker answers before its VM traps.
            for _ in 0..200 {
                ask("cart.shop", &[]).await?;
            }
            forged_headers_reach_the_baseline(&[("baggage", "sandbox=pr-1")]).await?;
        }
        Ok(())
    })
}

/// The plugin with another module.
fn with_module(plugin: &DynamicObject, file: &Path) -> Value {
    let mut spec = plugin.data["spec"].clone();
    spec["url"] = format!("file://{}", file.display()).into();
    json!({
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": PLUGIN, "namespace": "istio-system"},
        "spec": spec,
    })
}

#[test]
fn no_cluster_is_reached_by_a_forged_header_with_the_module() -> anyhow::Result<()> {
    with_echo_shop(PluginKind::WasmPlugin, async |fixture, _controller, _sidecar| {
        forged_headers_reach_the_baseline(&[]).await?;
        // With a key, the forged header does not keep the request from its sandbox.
        let key = ("baggage", "sandbox=pr-1");
        for cluster in clusters() {
            let seen = ask("cart.shop", &[("x-skycap-cluster", &cluster), key]).await?;
            anyhow::ensure!(seen == "cart-pr-1 cart.shop", "`{cluster}` and the key: `{seen}`");
        }
        // The kill switch changes nothing about that.
        fixture.apply(&settings(json!({"enabled": "false"}))).await?;
        cart_becomes(fixture, "disabled", &["cart-pr-1"], "cart").await?;
        forged_headers_reach_the_baseline(&[key]).await
    })
}

/// With dispatch `header`, the user's own routes match `x-skycap-sandbox`.
#[test]
fn the_header_of_dispatch_header_cannot_be_forged() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        fixture.cluster.module_url = format!("file://{}", module_path()?.display());
        let _shop = open(fixture).await?;
        fixture.apply(&settings(json!({"dispatch": "header"}))).await?;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        fixture.apply(&own_route()).await?;
        let _controller =
            skycap_tests::cluster::Controller::start(&fixture.cluster, "one", &[]).await?;
        let _sidecar = fixture.cluster.sidecar(&envoy::obtain()?, "client", "shop").await?;
        let key = ("baggage", "sandbox=pr-1");
        let before = ["cart cart.shop", "404 ", "503 "];
        let routed = async || ask("cart.shop", &[key]).await;
        fixture.answer_changes("their own route", &before, "cart-pr-1 cart.shop", routed).await?;
        for headers in [&[FORGED][..], &[FORGED, ("baggage", "sandbox=pr-2")]] {
            let seen = ask("cart.shop", headers).await?;
            anyhow::ensure!(seen == "cart cart.shop", "{headers:?}: `{seen}`");
        }
        Ok(())
    })
}

async fn forged_headers_reach_the_baseline(others: &[(&str, &str)]) -> anyhow::Result<()> {
    for cluster in clusters() {
        let forged = [&[("x-skycap-cluster", cluster.as_str())], others].concat();
        let seen = ask("cart.shop", &forged).await?;
        anyhow::ensure!(seen == "cart cart.shop", "`{cluster}`: `{seen}`");
    }
    Ok(())
}

/// The clusters of a sidecar that istiod configures, and one of a Service.
fn clusters() -> Vec<String> {
    let own = ["xds-grpc", "prometheus_stats", "agent", "BlackHoleCluster", "PassthroughCluster"];
    let own = own.map(str::to_owned).into_iter();
    own.chain(["inbound|80||", "outbound|80||pricing.shop.svc.cluster.local"].map(Into::into))
        .collect()
}

/// A route by the header that skycap sets.
fn own_route() -> Value {
    let to = |host: &str| json!([{"destination": {"host": host}}]);
    let with_key = json!([{"headers": {"x-skycap-sandbox": {"exact": "pr-1"}}}]);
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "cart", "namespace": "shop"},
        "spec": {"hosts": ["cart"], "http": [
            {"match": with_key, "route": to("cart-pr-1")},
            {"route": to("cart")},
        ]},
    })
}

const FORGED: (&str, &str) = ("x-skycap-sandbox", "pr-1");
