//! A real istiod reads what skycap writes into a real API server, and configures a stock Envoy as a
//! sidecar.

use std::time::Duration;

use serde_json::json;
use skycap::desired::istio::PluginKind;
use skycap_tests::fixture::{
    Fixture,
    echo_shop::{ask, cart_becomes, with_echo_shop},
    manifests::{endpoints_at, sandbox, settings},
};

#[test]
fn the_filter_routes_behind_istiod() -> anyhow::Result<()> {
    with_echo_shop(PluginKind::WasmPlugin, async |fixture, _controller, _sidecar| {
        let key = [("baggage", "a=b, sandbox=pr-1")];
        for (about, host, headers, wanted) in [
            ("no baggage", "cart.shop", &[][..], "cart cart.shop"),
            ("the key", "cart.shop", &key, "cart-pr-1 cart.shop"),
            (
                "the whole name",
                "cart.shop.svc.cluster.local",
                &key,
                "cart-pr-1 cart.shop.svc.cluster.local",
            ),
            ("an unknown key", "cart.shop", &[("baggage", "sandbox=pr-12")], "cart cart.shop"),
            ("another Service", "pricing.shop", &key, "pricing pricing.shop"),
            ("a forged header", "cart.shop", &[("x-skycap-cluster", PRICING)], "cart cart.shop"),
            (
                "a forged header and the key",
                "cart.shop",
                &[("x-skycap-cluster", PRICING), key[0]],
                "cart-pr-1 cart.shop",
            ),
        ] {
            let seen = ask(host, headers).await?;
            anyhow::ensure!(seen == wanted, "{about}: expected `{wanted}`, but got `{seen}`");
        }
        // Envoy may learn of the endpoint before it has the new table: until then, it answers 503.
        fixture.apply(&endpoints_at("cart-pr-1", 9, false)?).await?;
        let before = ["cart-pr-1 cart.shop", "503 no healthy upstream"];
        let ask = async || ask("cart.shop", &key).await;
        fixture.answer_changes("no ready endpoint", &before, "cart cart.shop", ask).await?;
        Ok(())
    })
}

#[test]
fn a_change_is_in_effect_within_a_second() -> anyhow::Result<()> {
    with_echo_shop(PluginKind::WasmPlugin, async |fixture, _controller, _sidecar| {
        let mut times = Vec::new();
        for round in 0..20 {
            let on = round % 2 == 1;
            let (before, after) = if on { ("cart", "cart-pr-1") } else { ("cart-pr-1", "cart") };
            let data = json!({"routes": "cart: cart-pr-1", "enabled": on.to_string()});
            fixture.apply(&sandbox("pr-1", data)).await?;
            times.push(cart_becomes(fixture, "a change", &[before], after).await?);
        }
        is_quick("from the API server to effect behind istiod", times)
    })
}

#[test]
fn the_kill_switch_is_quick_and_uninstall_ends_the_routing() -> anyhow::Result<()> {
    with_echo_shop(PluginKind::TrafficExtension, async |fixture, _controller, _sidecar| {
        let mut times = Vec::new();
        for _ in 0..5 {
            fixture.apply(&settings(json!({"enabled": "false"}))).await?;
            times.push(cart_becomes(fixture, "disabled", &["cart-pr-1"], "cart").await?);
            fixture.apply(&settings(json!({}))).await?;
            cart_becomes(fixture, "enabled", &["cart"], "cart-pr-1").await?;
        }
        is_quick("the kill switch behind istiod", times)?;
        fixture.skycap(&["uninstall", "--mesh", "istio"]).await?;
        cart_becomes(fixture, "uninstalled", &["cart-pr-1"], "cart").await?;
        Ok(())
    })
}

#[test]
fn routing_goes_on_without_the_control_plane() -> anyhow::Result<()> {
    with_echo_shop(PluginKind::WasmPlugin, async |fixture: &mut Fixture, controller, _sidecar| {
        controller.kill().await?;
        fixture.cluster.kill_istiod().await?;
        fixture.cluster.kill_apiserver().await?;
        let key = ("baggage", "sandbox=pr-1");
        for _ in 0..20 {
            let seen = (ask("cart.shop", &[key]).await?, ask("cart.shop", &[]).await?);
            anyhow::ensure!(seen.0 == "cart-pr-1 cart.shop", "with the key: `{}`", seen.0);
            anyhow::ensure!(seen.1 == "cart cart.shop", "without a key: `{}`", seen.1);
        }
        fixture.cluster.start_apiserver().await?;
        fixture.cluster.start_istiod().await?;
        let _controller =
            skycap_tests::cluster::Controller::start(&fixture.cluster, "two", &[]).await?;
        let off = json!({"routes": "cart: cart-pr-1", "enabled": "false"});
        fixture.apply(&sandbox("pr-1", off)).await?;
        cart_becomes(fixture, "a change, when all are back", &["cart-pr-1"], "cart").await?;
        Ok(())
    })
}

/// Checks the median: a busy machine delays single changes.
fn is_quick(what: &str, mut times: Vec<Duration>) -> anyhow::Result<()> {
    times.sort();
    let (median, last) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{what}: median {median:?}, at most {last:?}");
    anyhow::ensure!(median < Duration::from_secs(1), "{what}: {median:?}");
    Ok(())
}

const PRICING: &str = "outbound|80||pricing.shop.svc.cluster.local";
