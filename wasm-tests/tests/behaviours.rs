//! What happens beside Istio's own objects, and when parts of the control plane are gone: through a
//! real istiod, as a platform's engineers would ask it.

mod kubernetes;

use kubernetes::{
    Fixture, sandbox,
    shop::{answers, ask, on_istio},
};
use serde_json::{Value, json};
use skycap::desired::istio::PluginKind;

const KEY: (&str, &str) = ("baggage", "sandbox=pr-1");
const CANARY: (&str, &str) = ("x-canary", "1");

#[test]
fn beside_the_users_own_objects() -> anyhow::Result<()> {
    on_istio(PluginKind::WasmPlugin, async |fixture, _controller| {
        let subsets = json!({"host": "cart", "subsets": [
            {"name": "v1", "labels": {}}, {"name": "v2", "labels": {}},
        ]});
        fixture.apply(&istio("DestinationRule", "cart", subsets)).await?;
        let to = |subset: &str| json!({"destination": {"host": "cart", "subset": subset}});
        let canary = json!({"match": [{"headers": {"x-canary": {"exact": "1"}}}], "route": [{"destination": {"host": "pricing"}}]});
        let rewrite = json!({"route": [to("v1")], "rewrite": {"authority": "rewritten"}});
        fixture
            .apply(&istio(
                "VirtualService",
                "cart",
                json!({"hosts": ["cart"], "http": [canary, rewrite]}),
            ))
            .await?;
        // The destination is the Service that Envoy picked: what their route sends elsewhere is not
        // the cart's any more. What else their route does, a sandboxed request passes by.
        shows(fixture, "a subset", &[], "cart rewritten").await?;
        shows(fixture, "a subset, with the key", &[KEY], "cart-pr-1 cart.shop").await?;
        shows(fixture, "a route to another Service", &[CANARY], "pricing cart.shop").await?;
        shows(fixture, "the same with the key", &[CANARY, KEY], "pricing cart.shop").await?;
        let said = fixture.skycap_fails(&["check"], 1).await?;
        anyhow::ensure!(said.contains("pass by its `rewrite`"), "{said}");

        let both = [to("v1"), to("v2")].map(|mut to| {
            to["weight"] = 50.into();
            to
        });
        fixture
            .apply(&istio(
                "VirtualService",
                "cart",
                json!({"hosts": ["cart"], "http": [{"route": both}]}),
            ))
            .await?;
        shows(fixture, "weights", &[], "cart cart.shop").await?;
        shows(fixture, "weights, with the key", &[KEY], "cart-pr-1 cart.shop").await?;
        fixture.delete_object(&istio("VirtualService", "cart", json!({}))).await?;

        let hides = json!({"egress": [{"hosts": ["shop/cart.shop.svc.cluster.local", "shop/pricing.shop.svc.cluster.local"]}]});
        fixture.apply(&istio("Sidecar", "default", hides)).await?;
        shows(fixture, "a hidden target", &[KEY], "503 ").await?;
        shows(fixture, "the baseline is not hidden", &[], "cart cart.shop").await?;
        let said = fixture.skycap_fails(&["check"], 1).await?;
        anyhow::ensure!(said.contains("hides cart-pr-1.shop"), "{said}");
        fixture.delete_object(&istio("Sidecar", "default", json!({}))).await?;
        shows(fixture, "hidden no more", &[KEY], "cart-pr-1 cart.shop").await
    })
}

#[test]
fn while_the_control_plane_is_gone_routing_goes_on() -> anyhow::Result<()> {
    on_istio(PluginKind::WasmPlugin, async |fixture, controller| {
        controller.kill().await?;
        fixture.cluster.kill_istiod().await?;
        fixture.cluster.kill_apiserver().await?;
        shows(fixture, "with the key", &[KEY], "cart-pr-1 cart.shop").await?;
        shows(fixture, "without", &[], "cart cart.shop").await?;
        fixture.cluster.start_apiserver().await?;
        fixture.cluster.start_istiod().await?;
        let _controller =
            skycap_tests::cluster::Controller::start(&fixture.cluster, "two", &[]).await?;
        let off = json!({"routes": "cart: cart-pr-1", "enabled": "false"});
        fixture.apply(&sandbox("pr-1", off)).await?;
        answers(fixture, "cart", "a change when all are back").await
    })
}

/// Waits until a request for the cart is answered so, and then so again.
async fn shows(
    fixture: &Fixture,
    about: &str,
    headers: &[(&str, &str)],
    wanted: &str,
) -> anyhow::Result<()> {
    let holds = async |_: &Fixture| Ok(ask("cart.shop", headers).await? == wanted);
    fixture.until(about, holds).await?;
    for _ in 0..20 {
        let seen = ask("cart.shop", headers).await?;
        anyhow::ensure!(seen == wanted, "{about}: expected `{wanted}`, but saw `{seen}`");
    }
    Ok(())
}

fn istio(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "shop"},
        "spec": spec,
    })
}
