//! skycap beside the user's own Istio objects, through a real istiod.

use serde_json::{Value, json};
use skycap::desired::istio::PluginKind;
use skycap_tests::fixture::{
    Fixture,
    echo_shop::{ask, with_echo_shop},
    manifests::istio,
};

const KEY: (&str, &str) = ("baggage", "sandbox=pr-1");
const CANARY: (&str, &str) = ("x-canary", "1");

#[test]
fn requests_with_a_key_beside_a_virtual_service() -> anyhow::Result<()> {
    with_echo_shop(PluginKind::WasmPlugin, async |fixture, _controller, _sidecar| {
        let subsets = json!({"host": "cart", "subsets": [
            {"name": "v1", "labels": {}}, {"name": "v2", "labels": {}},
        ]});
        fixture.apply(&istio("DestinationRule", "cart", subsets)).await?;
        let is_canary = json!([{"headers": {"x-canary": {"exact": "1"}}}]);
        let to_pricing = json!([{"destination": {"host": "pricing"}}]);
        let http = json!([
            {"match": is_canary, "route": to_pricing},
            {"route": [to("v1")], "rewrite": {"authority": "rewritten"}},
        ]);
        fixture.apply(&virtual_service(&http)).await?;
        // The destination is the Service that Envoy picked: a request that their route sends to another
        // Service is not one for the cart. A request with a key skips everything else of their route.
        let (cart, sandboxed) = ("cart cart.shop", "cart-pr-1 cart.shop");
        // Envoy answers 503 while the cluster of a new subset has no endpoints yet:
        // https://istio.io/latest/docs/ops/best-practices/traffic-management/#avoid-503-errors-while-reconfiguring-service-routes
        let warming = async || ask("cart.shop", &[]).await;
        fixture.answer_changes("a subset", &[cart, "503 "], "cart rewritten", warming).await?;
        settles(fixture, "a subset, with the key", &[KEY], sandboxed, sandboxed).await?;
        settles(fixture, "another Service", &[CANARY], cart, "pricing cart.shop").await?;
        let both = [CANARY, KEY];
        settles(fixture, "and with the key", &both, sandboxed, "pricing cart.shop").await?;
        let findings = fixture.skycap_fails(&["check", "-n", "shop"], 1).await?;
        anyhow::ensure!(findings.contains("`rewrite`"), "{findings}");

        let weighted = ["v1", "v2"].map(|subset| {
            let mut to = to(subset);
            to["weight"] = 50.into();
            to
        });
        fixture.apply(&virtual_service(&json!([{"route": weighted}]))).await?;
        settles(fixture, "weights", &[], "cart rewritten", cart).await?;
        settles(fixture, "weights, with the key", &[KEY], sandboxed, sandboxed).await
    })
}

#[test]
fn a_sidecar_object_may_hide_the_target() -> anyhow::Result<()> {
    with_echo_shop(PluginKind::WasmPlugin, async |fixture, _controller, _sidecar| {
        let hosts = ["cart", "pricing"].map(|name| format!("shop/{name}.shop.svc.cluster.local"));
        let hiding = istio("Sidecar", "default", json!({"egress": [{"hosts": hosts}]}));
        fixture.apply(&hiding).await?;
        let sandboxed = "cart-pr-1 cart.shop";
        settles(fixture, "the target is hidden", &[KEY], sandboxed, "503 ").await?;
        let cart = "cart cart.shop";
        settles(fixture, "the baseline is not hidden", &[], cart, cart).await?;
        let findings = fixture.skycap_fails(&["check", "-n", "shop"], 1).await?;
        anyhow::ensure!(findings.contains("cart-pr-1.shop"), "{findings}");
        fixture.delete_object(&hiding).await?;
        settles(fixture, "the target is visible again", &[KEY], "503 ", sandboxed).await
    })
}

/// Waits until the answer to a request for the cart changes from `before` to `after`, and then checks
/// it 20 times more.
async fn settles(
    fixture: &Fixture,
    what: &str,
    headers: &[(&str, &str)],
    before: &str,
    after: &str,
) -> anyhow::Result<()> {
    let ask = async || ask("cart.shop", headers).await;
    fixture.answer_changes(what, &[before], after, ask).await?;
    for _ in 0..20 {
        let seen = ask().await?;
        anyhow::ensure!(seen == after, "{what}: expected `{after}`, but got `{seen}`");
    }
    Ok(())
}

/// A destination of the cart's.
fn to(subset: &str) -> Value {
    json!({"destination": {"host": "cart", "subset": subset}})
}

fn virtual_service(http: &Value) -> Value {
    istio("VirtualService", "cart", json!({"hosts": ["cart"], "http": http}))
}
