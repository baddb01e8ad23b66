//! Istio's own control plane between the controller and Envoy: a real istiod reads what skycap
//! writes into a real API server, and configures a stock Envoy as a sidecar. The workloads are
//! small servers of the test's.

mod kubernetes;

use std::time::{Duration, Instant};

use kubernetes::{
    Fixture, run_on, sandbox, settings,
    shop::{answers, ask, endpoints, on_istio, open},
};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use serde_json::json;
use skycap::{
    desired::istio::PluginKind,
    table::meshes::{MeshKind, Meshes},
};
use skycap_core::baggage;
use skycap_tests::{cluster::Controller, envoy};

#[test]
fn the_filter_routes_behind_istiod() -> anyhow::Result<()> {
    on_istio(PluginKind::WasmPlugin, async |fixture, _controller| {
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
                "forged, with a key",
                "cart.shop",
                &[("x-skycap-cluster", PRICING), key[0]],
                "cart-pr-1 cart.shop",
            ),
        ] {
            let seen = ask(host, headers).await?;
            anyhow::ensure!(seen == wanted, "{about}: expected `{wanted}`, but saw `{seen}`");
        }
        let mut times = Vec::new();
        for round in 0..20 {
            let on = round % 2 == 1;
            let data = json!({"routes": "cart: cart-pr-1", "enabled": on.to_string()});
            let begun = Instant::now();
            fixture.apply(&sandbox("pr-1", data)).await?;
            answers(fixture, if on { "cart-pr-1" } else { "cart" }, "a toggle").await?;
            times.push(begun.elapsed());
        }
        times.sort();
        println!(
            "from kubectl patch to effect behind istiod: median {:?}, last {:?}",
            times[10], times[19]
        );

        fixture.apply(&endpoints("cart-pr-1", 9, false)?).await?;
        answers(fixture, "cart", "no ready endpoint").await?;
        Ok(())
    })
}

#[test]
fn the_kill_switch_is_quick_and_a_controller_that_is_gone_changes_nothing() -> anyhow::Result<()> {
    on_istio(PluginKind::TrafficExtension, async |fixture, _controller| {
        let begun = Instant::now();
        fixture.apply(&settings(json!({"enabled": "false"}))).await?;
        answers(fixture, "cart", "the kill switch").await?;
        let took = begun.elapsed();
        println!("the kill switch behind istiod: {took:?}");
        anyhow::ensure!(took < Duration::from_secs(2), "the kill switch took {took:?}");
        fixture.apply(&settings(json!({}))).await?;
        answers(fixture, "cart-pr-1", "switched on again").await?;
        fixture.skycap(&["uninstall", "--mesh", "istio"]).await?;
        answers(fixture, "cart", "uninstalled").await
    })
}

#[test]
fn http_routes_route_behind_istiod() -> anyhow::Result<()> {
    let meshes = Meshes::from_iter([MeshKind::GatewayApi]);
    run_on(&meshes, PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let shop = open(fixture).await?;
        let _controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        fixture.apply(&sandbox("pr-2", json!({"routes": "cart: pricing"}))).await?;
        let cart_pr_1 = shop[1].port;
        // From the Service's namespace and from another one.
        for namespace in ["shop", "web"] {
            let sidecar = fixture.cluster.sidecar(&envoy::obtain()?, "client", namespace).await?;
            answers(fixture, "cart-pr-1", "a sandbox").await?;
            anyhow::ensure!(ask("cart.shop", &[]).await? == "cart cart.shop", "a baseline request");
            drop(sidecar);
        }
        let _sidecar = fixture.cluster.sidecar(&envoy::obtain()?, "client", "shop").await?;
        answers(fixture, "cart-pr-1", "a sandbox").await?;
        re2_says_what_the_parser_says().await?;

        // Somebody's own route: with a key it keeps its place and its filter.
        let filter = json!({"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "host", "value": "theirs"}]}});
        let theirs = json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": "theirs", "namespace": "shop"},
            "spec": {
                "parentRefs": [{"group": "", "kind": "Service", "name": "cart"}],
                "rules": [
                    {"matches": [{"headers": [{"name": "x-canary", "value": "1"}]}], "filters": [filter], "backendRefs": [{"name": "pricing", "port": 80}]},
                    {"backendRefs": [{"name": "cart", "port": 80}]},
                ],
            },
        });
        fixture.apply(&theirs).await?;
        let canary = ("x-canary", "1");
        let key = ("baggage", "sandbox=pr-1");
        for (about, headers, wanted) in [
            ("theirs", &[canary][..], "pricing theirs"),
            ("theirs, with a key", &[canary, key], "cart-pr-1 theirs"),
            ("the rest", &[], "cart cart.shop"),
            ("the rest, with a key", &[key], "cart-pr-1 cart.shop"),
        ] {
            let holds = async |_: &Fixture| Ok(ask("cart.shop", headers).await? == wanted);
            fixture.until(about, holds).await?;
        }
        let status = fixture.skycap(&["status"]).await?;
        anyhow::ensure!(status.contains(" accepted, 0 pending, 0 not taken"), "{status}");

        // `fail` is the mesh's own 5xx, and never the baseline.
        let fails = json!({"routes": "cart: cart-pr-1", "onUnavailable": "fail"});
        fixture.apply(&sandbox("pr-1", fails)).await?;
        fixture.apply(&endpoints("cart-pr-1", 9, false)?).await?;
        let fails =
            async |_: &Fixture| Ok(ask("cart.shop", &[key]).await? == "503 no healthy upstream");
        fixture.until("fail", fails).await?;
        fixture.apply(&endpoints("cart-pr-1", cart_pr_1, true)?).await?;
        answers(fixture, "cart-pr-1", "ready again").await?;
        fixture.apply(&settings(json!({"mesh": "gateway-api", "enabled": "false"}))).await?;
        answers(fixture, "cart", "the kill switch").await
    })
}

#[test]
fn a_consumers_route_is_followed_behind_istiod() -> anyhow::Result<()> {
    let meshes = Meshes::from_iter([MeshKind::GatewayApi]);
    run_on(&meshes, PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let _shop = open(fixture).await?;
        let _controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        // It holds for clients of its own namespace, which then have no other.
        let to = |name: &str| json!([{"name": name, "namespace": "shop", "port": 80}]);
        let theirs = json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": "theirs", "namespace": "web"},
            "spec": {
                "parentRefs": [{"group": "", "kind": "Service", "namespace": "shop", "name": "cart"}],
                "rules": [
                    {"matches": [{"headers": [{"name": "x-canary", "value": "1"}]}], "backendRefs": to("pricing")},
                    {"backendRefs": to("cart")},
                ],
            },
        });
        fixture.apply(&theirs).await?;
        // Theirs is the older one, by more than the second that creation times are of.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        let (canary, key) = (("x-canary", "1"), ("baggage", "sandbox=pr-1"));
        for (namespace, canaries) in [("web", "pricing cart.shop"), ("shop", "cart cart.shop")] {
            let _sidecar = fixture.cluster.sidecar(&envoy::obtain()?, "client", namespace).await?;
            for (headers, wanted) in [
                (&[canary][..], canaries),
                (&[canary, key], "cart-pr-1 cart.shop"),
                (&[key], "cart-pr-1 cart.shop"),
                (&[], "cart cart.shop"),
            ] {
                let holds = async |_: &Fixture| Ok(ask("cart.shop", headers).await? == wanted);
                fixture.until(&format!("{headers:?} from {namespace}"), holds).await?;
            }
        }
        Ok(())
    })
}

/// Lines of baggage that nobody thought of, by the regular expressions in Envoy's RE2.
async fn re2_says_what_the_parser_says() -> anyhow::Result<()> {
    let pick = |of: &'static [&'static str]| proptest::sample::select(of);
    let member = (
        pick(&["sandbox", "sandbox", "xsandbox", "sandbo", "", " sandbox"]),
        pick(&["=", "=", " = ", "", "\t="]),
        pick(&["pr-1", "%70r%2d1", "pr-2", "", "a b", "%", "\"", " pr-1 ", "=", "pr-12", "%2"]),
        pick(&["", "", ";p", " ; p=1;q", ";", " "]),
    );
    let member =
        member.prop_map(|(name, equals, value, rest)| [name, equals, value, rest].concat());
    let line = proptest::collection::vec(member, 0..5);
    let mut runner = TestRunner::deterministic();
    let (mut found, cases) = (0, 3_000);
    for _ in 0..cases {
        let line = line.new_tree(&mut runner).map_err(|reason| anyhow::anyhow!("{reason}"))?;
        let line = line.current().join(",");
        let key = baggage::find(line.as_bytes(), "sandbox").into_result().ok();
        let wanted = match key.map(|key| key.to_string()).as_deref() {
            Some("pr-1") => "cart-pr-1 cart.shop",
            Some("pr-2") => "pricing cart.shop",
            _ => "cart cart.shop",
        };
        found += usize::from(wanted != "cart cart.shop");
        let seen = ask("cart.shop", &[("baggage", &line)]).await?;
        anyhow::ensure!(seen == wanted, "`{line}`: expected `{wanted}`, but saw `{seen}`");
    }
    println!("{cases} lines of baggage in Envoy's RE2, {found} of them with a key");
    anyhow::ensure!(found > 100, "only {found} lines had a key");
    Ok(())
}

const PRICING: &str = "outbound|80||pricing.shop.svc.cluster.local";
