//! The shop on Istio's own programs, from the gateway to the last hop.

use serde_json::json;
use skycap::desired::istio::PluginKind;
use skycap_tests::{
    envoy,
    fixture::{
        Fixture,
        istio_shop::{IstioShop, enter, with_istio_shop},
        manifests::{fragment, sandbox, settings},
    },
};

#[test]
fn sandboxes_are_reached_from_the_gateway_to_the_last_hop() -> anyhow::Result<()> {
    with_istio_shop(PluginKind::TrafficExtension, async |fixture, shop| {
        fixture.apply(&settings(json!({"edge": "accept: open"}))).await?;
        for (name, routes) in [
            ("first", "frontend: frontend-pr-1"),
            ("middle", "cart: cart-pr-1"),
            ("last", "pricing: pricing-pr-2"),
            ("two", "cart: cart-pr-2\npricing: pricing-pr-2"),
        ] {
            fixture.apply(&sandbox(name, json!({"routes": routes}))).await?;
        }
        fixture.apply(&fragment("group", "all", json!({"members": "first, middle, two"}))).await?;
        fixture.until("each path through the shop", each_path_is_right).await?;
        shop.restart(fixture, &envoy::obtain()?, "cart").await?;
        fixture.until("each path, with a new agent", each_path_is_right).await?;
        routed_requests_are_counted(fixture, shop).await?;
        status_works_without_access_to_sidecars(fixture).await
    })
}

async fn each_path_is_right(_: &Fixture) -> anyhow::Result<bool> {
    let forged = ("x-skycap-cluster", "outbound|80||pricing.shop.svc.cluster.local");
    for (path, headers, wanted) in [
        ("/", &[][..], "frontend > cart > pricing"),
        ("/", &[("baggage", "sandbox=first")], "frontend-pr-1 > cart > pricing"),
        ("/", &[("baggage", "sandbox=middle")], "frontend > cart-pr-1 > pricing"),
        ("/", &[("baggage", "sandbox=last")], "frontend > cart > pricing-pr-2"),
        ("/", &[("baggage", "a=b,sandbox=two")], "frontend > cart-pr-2 > pricing-pr-2"),
        ("/", &[("baggage", "sandbox=all")], "frontend-pr-1 > cart-pr-1 > pricing-pr-2"),
        ("/", &[("baggage", "sandbox=fir")], "frontend > cart > pricing"),
        // The gateway itself routes by Host and path.
        ("/cart/1", &[], "cart > pricing"),
        ("/cart/1", &[("baggage", "sandbox=middle")], "cart-pr-1 > pricing"),
        ("/", &[forged], "frontend > cart > pricing"),
        ("/", &[forged, ("baggage", "sandbox=first")], "frontend-pr-1 > cart > pricing"),
    ] {
        let seen = enter(path, headers).await?;
        anyhow::ensure!(seen == wanted, "{path} {headers:?}: `{seen}`");
    }
    Ok(true)
}

/// Prometheus gets the counters with labels, at the port in the Pod's annotation.
async fn routed_requests_are_counted(fixture: &Fixture, shop: &IstioShop) -> anyhow::Result<()> {
    let routed = r#"outcome="routed""#;
    let is_counted = async |_: &Fixture| {
        Ok(shop.agent("cart")?.metric("skycap_requests_total", &[routed]).await? >= 3.0)
    };
    fixture.until("routed requests are counted", is_counted).await?;
    Ok(())
}

/// A user without access to sidecars sees the rest of the status, and a note.
async fn status_works_without_access_to_sidecars(fixture: &Fixture) -> anyhow::Result<()> {
    let groups = ["", "extensions.istio.io", "networking.istio.io", "coordination.k8s.io"];
    let resources = ["configmaps", "trafficextensions", "envoyfilters", "leases"];
    let rules = json!([
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["list"]},
        {"apiGroups": groups, "resources": resources, "verbs": ["get"]},
    ]);
    let token = fixture.user_with(rules).await?;
    let output = fixture.command_with(&token, &["status"])?.output().await?;
    let (status, note) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    anyhow::ensure!(output.status.success() && note.contains("pods/proxy"), "{note}");
    anyhow::ensure!(status.contains("TrafficExtension istio-system/skycap"), "{status}");
    anyhow::ensure!(!status.contains("sidecars"), "{status}");
    Ok(())
}
