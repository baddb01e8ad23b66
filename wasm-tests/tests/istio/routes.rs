//! skycap's HTTPRoutes behind a real istiod, as in a mesh of the Gateway API without the filter.

use std::time::Duration;

use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use serde_json::{Value, json};
use skycap::{
    desired::istio::PluginKind,
    table::meshes::{MeshKind, Meshes},
};
use skycap_core::baggage;
use skycap_tests::{
    cluster::Controller,
    echo::Echo,
    envoy,
    fixture::{
        Fixture,
        echo_shop::{ask, cart_becomes, open},
        manifests::{endpoints_at, route, sandbox, settings},
        run_on,
    },
};

const KEY: (&str, &str) = ("baggage", "sandbox=pr-1");
const CANARY: (&str, &str) = ("x-canary", "1");

/// Runs a test with the shop and a controller that writes HTTPRoutes only.
fn with_http_routes(
    test: impl AsyncFnOnce(&mut Fixture, &[Echo]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let meshes = Meshes::from_iter([MeshKind::GatewayApi]);
    run_on(&meshes, PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let shop = open(fixture).await?;
        let _controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        test(fixture, &shop).await
    })
}

#[test]
fn http_routes_route_behind_istiod() -> anyhow::Result<()> {
    with_http_routes(async |fixture, shop| {
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        fixture.apply(&sandbox("pr-2", json!({"routes": "cart: pricing"}))).await?;
        let cart_pr_1 = shop[1].port;
        // From the Service's own namespace, and from another one.
        for namespace in ["shop", "web"] {
            let sidecar = fixture.cluster.sidecar(&envoy::obtain()?, "client", namespace).await?;
            cart_becomes(fixture, "a sandbox", &["cart"], "cart-pr-1").await?;
            let baseline = ask("cart.shop", &[]).await?;
            anyhow::ensure!(baseline == "cart cart.shop", "without a key: `{baseline}`");
            drop(sidecar);
        }
        let _sidecar = fixture.cluster.sidecar(&envoy::obtain()?, "client", "shop").await?;
        cart_becomes(fixture, "a sandbox", &["cart"], "cart-pr-1").await?;
        re2_agrees_with_the_parser().await?;
        routes_of_others_apply(fixture).await?;

        // Under `fail`, the mesh answers with its own 5xx, never with the baseline.
        let fails = json!({"routes": "cart: cart-pr-1", "onUnavailable": "fail"});
        fixture.apply(&sandbox("pr-1", fails)).await?;
        fixture.apply(&endpoints_at("cart-pr-1", 9, false)?).await?;
        let ask_with_key = async || ask("cart.shop", &[KEY]).await;
        let (here, gone) = ("cart-pr-1 cart.shop", "503 no healthy upstream");
        fixture.answer_changes("fail", &[here], gone, ask_with_key).await?;
        fixture.apply(&endpoints_at("cart-pr-1", cart_pr_1, true)?).await?;
        fixture.answer_changes("ready again", &[gone], here, ask_with_key).await?;
        fixture.apply(&settings(json!({"mesh": "gateway-api", "enabled": "false"}))).await?;
        cart_becomes(fixture, "the kill switch", &["cart-pr-1"], "cart").await?;
        Ok(())
    })
}

/// A request with a key matches the HTTPRoute of others, and keeps its filter.
async fn routes_of_others_apply(fixture: &Fixture) -> anyhow::Result<()> {
    let filter = json!({"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "host", "value": "theirs"}]}});
    let theirs = json!({
        "parentRefs": [{"group": "", "kind": "Service", "name": "cart"}],
        "rules": [
            {"matches": [matches_canary()], "filters": [filter], "backendRefs": [{"name": "pricing", "port": 80}]},
            {"backendRefs": [{"name": "cart", "port": 80}]},
        ],
    });
    fixture.apply(&route("HTTPRoute", "theirs", theirs)).await?;
    for (about, headers, before, after) in [
        ("theirs", &[CANARY][..], "cart cart.shop", "pricing theirs"),
        ("theirs, with a key", &[CANARY, KEY], "cart-pr-1 cart.shop", "cart-pr-1 theirs"),
        ("the rest", &[], "cart cart.shop", "cart cart.shop"),
        ("the rest, with a key", &[KEY], "cart-pr-1 cart.shop", "cart-pr-1 cart.shop"),
    ] {
        let ask = async || ask("cart.shop", headers).await;
        fixture.answer_changes(about, &[before], after, ask).await?;
    }
    let status = fixture.skycap_status(&["status", "-o", "json"]).await?;
    let status: Value = serde_json::from_str(&status)?;
    let routes = &status["httpRoutes"];
    let is_accepted = routes["pending"] == 0 && routes["refused"] == json!([]);
    anyhow::ensure!(is_accepted && routes["accepted"] != 0, "{status}");
    Ok(())
}

#[test]
fn a_consumer_route_applies_behind_istiod() -> anyhow::Result<()> {
    with_http_routes(async |fixture, _shop| {
        // It applies to clients of its own namespace, instead of the routes of the Service's.
        let to = |name: &str| json!([{"name": name, "namespace": "shop", "port": 80}]);
        let mut theirs = route(
            "HTTPRoute",
            "theirs",
            json!({
                "parentRefs": [{"group": "", "kind": "Service", "namespace": "shop", "name": "cart"}],
                "rules": [
                    {"matches": [matches_canary()], "backendRefs": to("pricing")},
                    {"backendRefs": to("cart")},
                ],
            }),
        );
        theirs["metadata"]["namespace"] = "web".into();
        fixture.apply(&theirs).await?;
        // Creation times count in seconds: after more than one, theirs is the older route.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        for (namespace, canaries) in [("web", "pricing cart.shop"), ("shop", "cart cart.shop")] {
            let _sidecar = fixture.cluster.sidecar(&envoy::obtain()?, "client", namespace).await?;
            for (headers, before, after) in [
                (&[CANARY][..], canaries, canaries),
                (&[CANARY, KEY], canaries, "cart-pr-1 cart.shop"),
                (&[KEY], "cart cart.shop", "cart-pr-1 cart.shop"),
                (&[], "cart cart.shop", "cart cart.shop"),
            ] {
                let what = format!("{headers:?} from {namespace}");
                let ask = async || ask("cart.shop", headers).await;
                fixture.answer_changes(&what, &[before], after, ask).await?;
            }
        }
        Ok(())
    })
}

fn matches_canary() -> Value {
    json!({"headers": [{"name": CANARY.0, "value": CANARY.1}]})
}

/// Random lines of baggage match in Envoy's RE2 what the parser finds in them.
async fn re2_agrees_with_the_parser() -> anyhow::Result<()> {
    let mut runner = TestRunner::deterministic();
    let (mut found, cases) = (0, 3_000);
    for _ in 0..cases {
        let line = line().new_tree(&mut runner).map_err(|reason| anyhow::anyhow!("{reason}"))?;
        let line = line.current();
        let key = baggage::find(line.as_bytes(), "sandbox").into_result().ok();
        let wanted = match key.map(|key| key.to_string()).as_deref() {
            Some("pr-1") => "cart-pr-1 cart.shop",
            Some("pr-2") => "pricing cart.shop",
            _ => "cart cart.shop",
        };
        found += usize::from(wanted != "cart cart.shop");
        let seen = ask("cart.shop", &[("baggage", &line)]).await?;
        anyhow::ensure!(seen == wanted, "`{line}`: expected `{wanted}`, but got `{seen}`");
    }
    println!("{cases} lines of baggage in Envoy's RE2, {found} of them with a key");
    anyhow::ensure!(found > 600, "only {found} of {cases} lines had a key");
    Ok(())
}

/// A line of up to four members, each nearly right.
fn line() -> impl Strategy<Value = String> {
    let pick = |of: &'static [&'static str]| proptest::sample::select(of);
    let member = (
        pick(&["sandbox", "sandbox", "xsandbox", "sandbo", "", " sandbox"]),
        pick(&["=", "=", " = ", "", "\t="]),
        pick(&["pr-1", "%70r%2d1", "pr-2", "", "a b", "%", "\"", " pr-1 ", "=", "pr-12", "%2"]),
        pick(&["", "", ";p", " ; p=1;q", ";", " "]),
    );
    let member =
        member.prop_map(|(name, equals, value, rest)| [name, equals, value, rest].concat());
    proptest::collection::vec(member, 0..5).prop_map(|members| members.join(","))
}
