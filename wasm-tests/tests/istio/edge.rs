//! The edge at a real ingress gateway: what an outsider's key does there, and behind it.

use jiff::Timestamp;
use serde_json::{Value, json};
use skycap::{
    desired::istio::PluginKind,
    names::{CANARY, PLUGIN},
    table::rollout::{Canary, Rollout},
};
use skycap_tests::{
    faulty::{self, Fault},
    fixture::{
        Fixture,
        istio_shop::{GATEWAY, enter, send_from, visit_from_outside, with_istio_shop},
        manifests::{istio, sandbox, settings},
    },
};

#[test]
fn a_key_from_outside_has_no_effect() -> anyhow::Result<()> {
    with_istio_shop(PluginKind::TrafficExtension, async |fixture, _shop| {
        fixture.apply(&settings(json!({"carriers": CARRIERS}))).await?;
        open_sandboxes(fixture).await?;
        no_key_has_an_effect("by default").await?;
        others_pass_byte_for_byte().await
    })
}

#[test]
fn a_listed_key_has_an_effect_and_others_do_not() -> anyhow::Result<()> {
    with_istio_shop(PluginKind::WasmPlugin, async |fixture, _shop| {
        let edge = "{accept: listed, listed: [demo-*]}";
        fixture.apply(&settings(json!({"carriers": CARRIERS, "edge": edge}))).await?;
        open_sandboxes(fixture).await?;
        for (header, path) in carriers("demo-1") {
            let seen = visit_from_outside(path, &[(header.0, &header.1)]).await?;
            anyhow::ensure!(seen.path == SANDBOX, "{header:?} {path}: {:?}", seen.path);
            let own = |lines: &String| lines.split("; ").next().unwrap_or_default().to_owned();
            let is_clean =
                seen.carriers.iter().map(own).all(|line| line == "baggage: sandbox=demo-1");
            anyhow::ensure!(is_clean, "{header:?} {path}: {:?}", seen.carriers);
        }
        no_key_has_an_effect("pr-7 is not listed").await?;
        others_pass_byte_for_byte().await
    })
}

/// The dispatch route would skip what the gateway's own route does to headers.
#[test]
fn a_policy_of_the_gateway_is_not_bypassed() -> anyhow::Result<()> {
    with_istio_shop(PluginKind::TrafficExtension, async |fixture, _shop| {
        let edge = "{accept: listed, listed: [demo-1]}";
        fixture.apply(&settings(json!({"carriers": CARRIERS, "edge": edge}))).await?;
        open_sandboxes(fixture).await?;
        let remove = json!({"request": {"remove": ["tracestate"]}});
        let to = json!([{"destination": {"host": "frontend", "port": {"number": 80}}}]);
        let entry = istio(
            "VirtualService",
            "entry",
            json!({
                "hosts": ["shop.example.com"],
                "gateways": ["entry"],
                "http": [{"headers": remove, "route": to}],
            }),
        );
        fixture.apply(&entry).await?;
        let ask = || async { enter("/", &[("baggage", "sandbox=demo-1")]).await };
        let before = ["frontend-pr-1 > cart-pr-1 > pricing"];
        let after = "frontend > cart-pr-1 > pricing";
        fixture.answer_changes("the route has a policy", &before, after, ask).await?;
        let headers = [("baggage", "sandbox=demo-1"), ("tracestate", "a=1")];
        let seen = visit_from_outside("/", &headers).await?;
        anyhow::ensure!(seen.carriers[0] == "baggage: sandbox=demo-1", "{seen:?}");

        let open = json!({"carriers": CARRIERS, "edge": edge, "edgeBypass": "on"});
        fixture.apply(&settings(open)).await?;
        let (before, after) = ([after], before[0]);
        fixture.answer_changes("the settings say so", &before, after, ask).await?;
        let seen = visit_from_outside("/", &headers).await?;
        anyhow::ensure!(seen.carriers[0].contains("tracestate: a=1"), "{seen:?}");
        Ok(())
    })
}

/// At the gateway the module has trapped, has rejected its first table, or is absent. The sidecars behind
/// it have theirs.
#[test]
fn an_edge_stays_closed_without_its_module() -> anyhow::Result<()> {
    with_istio_shop(PluginKind::WasmPlugin, async |fixture, shop| {
        fixture.apply(&settings(json!({"carriers": CARRIERS}))).await?;
        open_sandboxes(fixture).await?;
        let trapping = faulty::module(Fault::Traps, &format!("istio-system.{CANARY}"))?;
        let path = fixture.cluster.folder().join("trapping.wasm");
        std::fs::write(&path, trapping)?;
        let trapping = format!("file://{}", path.display());
        fixture.apply(&canary(&trapping)).await?;
        gateway_has_no_module(fixture).await?;
        // It traps at its thirtieth request.
        for _ in 0..40 {
            let _ = enter("/", &[]).await?;
        }
        no_key_has_an_effect("the module has trapped").await?;
        gets_its_module_back(fixture).await?;
        fixture.apply(&canary(&trapping)).await?;
        gateway_has_no_module(fixture).await?;
        // From here on, nobody corrects the objects.
        shop.controller.take();
        let plugin = plugin_with_invalid_table(&fixture.cluster.module_url);
        fixture.apply(&plugin).await?;
        let is_there = async |_: &Fixture| {
            Ok(shop.agent(GATEWAY)?.admin("/config_dump").await?.contains(r#"\"9.0\""#))
        };
        fixture.until("the gateway has the invalid table", is_there).await?;
        no_key_has_an_effect("an invalid table").await?;
        fixture.delete_object(&plugin).await?;
        let is_gone = async |_: &Fixture| {
            let listeners = "/config_dump?resource=dynamic_listeners";
            Ok(!shop.agent(GATEWAY)?.admin(listeners).await?.contains(CANARY))
        };
        fixture.until("the gateway has no plugin", is_gone).await?;
        no_key_has_an_effect("no plugin").await
    })
}

/// Ends the canary, and waits until the gateway's own module knows a key from another member.
async fn gets_its_module_back(fixture: &Fixture) -> anyhow::Result<()> {
    fixture.apply(&Rollout::default().manifest()).await?;
    let passes = async |_: &Fixture| {
        let seen = visit_from_outside("/", &[("baggage", "mysandbox=1")]).await?;
        Ok(seen.carriers[0] == "baggage: mysandbox=1")
    };
    fixture.until("the gateway has its module again", passes).await.map(drop)
}

async fn open_sandboxes(fixture: &Fixture) -> anyhow::Result<()> {
    for key in ["pr-7", "demo-1"] {
        let routes = "frontend: frontend-pr-1\ncart: cart-pr-1";
        fixture.apply(&sandbox(key, json!({"routes": routes}))).await?;
        let inside = ("baggage", &*format!("sandbox={key}"));
        let ask = async || send_from("frontend", "cart.shop", &[inside]).await;
        let before = ["cart > pricing"];
        fixture.answer_changes(key, &before, "cart-pr-1 > pricing", ask).await?;
    }
    let is_closed = async |_: &Fixture| Ok(no_key_has_an_effect("at first").await.is_ok());
    fixture.until("the gateway has the EnvoyFilter", is_closed).await.map(drop)
}

/// Without its module, a gateway cannot tell this member from a key, and removes the header.
async fn gateway_has_no_module(fixture: &Fixture) -> anyhow::Result<()> {
    let is_removed = async |_: &Fixture| {
        let seen = visit_from_outside("/", &[("baggage", "mysandbox=1")]).await?;
        Ok(seen.carriers.iter().all(String::is_empty))
    };
    fixture.until("the gateway runs without the module", is_removed).await.map(drop)
}

async fn no_key_has_an_effect(about: &str) -> anyhow::Result<()> {
    let encoded = (("baggage", "a=1,%73andbox=pr-7".to_owned()), "/");
    let hidden =
        ["a=1,\u{a0}sandbox=pr-7", "; ;sandbox=pr-7", "a=b=sandbox=pr-7", "\u{a0}%73andbox=pr-7"];
    let hidden = hidden.map(|list| (("baggage", list.to_owned()), "/"));
    for ((name, value), path) in carriers("pr-7").into_iter().chain([encoded]).chain(hidden) {
        let seen = visit_from_outside(path, &[(name, &value)]).await?;
        anyhow::ensure!(seen.path == BASELINE, "{about}: {name} {value} {path}: {seen:?}");
        // A tracestate passes, because no proxy behind the edge reads it.
        let has_key = seen.carriers.iter().any(|lines| lines.contains("pr-7"));
        let has_key = has_key && name != "tracestate";
        anyhow::ensure!(!has_key, "{about}: {name} {value} {path}: {seen:?}");
    }
    let seen = visit_from_outside("/", &[("baggage", "a=1")]).await?;
    anyhow::ensure!(seen.carriers[0] == "baggage: a=1", "{about}: {seen:?}");
    Ok(())
}

async fn others_pass_byte_for_byte() -> anyhow::Result<()> {
    let sent = "sentry-trace_id=1%2C2;p , sandbox=pr-7,mysandbox=pr-7 ,x=\u{e9}";
    let seen = visit_from_outside("/", &[("baggage", sent), ("tracestate", "a=1, b=2")]).await?;
    let wanted =
        "baggage: sentry-trace_id=1%2C2;p ,mysandbox=pr-7 ,x=\\xc3\\xa9; tracestate: a=1, b=2";
    anyhow::ensure!(seen.carriers[0] == wanted, "{seen:?}");
    Ok(())
}

/// The key in each carrier: a header, and the path of the request.
fn carriers(key: &str) -> Vec<((&'static str, String), &'static str)> {
    let query = if key == "pr-7" { "/?sandbox=pr-7" } else { "/?sandbox=demo-1" };
    vec![
        (("baggage", format!("sandbox={key};ttl=1")), "/"),
        (("tracestate", format!("sandbox={key}")), "/"),
        (("x-tenant", key.to_owned()), "/"),
        (("cookie", format!("a=b; sandbox={key}")), "/"),
        (("user-agent", "a browser".to_owned()), query),
    ]
}

/// A rollout of this module on the gateway.
fn canary(module: &str) -> Value {
    let record = Rollout {
        module: None,
        canary: Some(Canary {
            module: module.into(),
            selector: [("istio".to_owned(), "ingressgateway".to_owned())].into(),
            until: Timestamp::MAX,
        }),
        outcome: None,
    };
    record.manifest()
}

/// The canary's plugin, with skycap's own module.
fn plugin_with_invalid_table(module: &str) -> Value {
    json!({
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": CANARY, "namespace": "istio-system"},
        "spec": {
            "url": module,
            "pluginName": PLUGIN,
            "failStrategy": "FAIL_OPEN",
            "pluginConfig": {"version": "9.0"},
            "match": [{"mode": "CLIENT"}],
            "selector": {"matchLabels": {"istio": "ingressgateway"}},
        },
    })
}

const CARRIERS: &str = "\
- baggage: sandbox
- tracestate: sandbox
- header: x-tenant
- cookie: sandbox
- query: sandbox";
const BASELINE: [&str; 3] = ["frontend", "cart", "pricing"];
const SANDBOX: [&str; 3] = ["frontend-pr-1", "cart-pr-1", "pricing"];
