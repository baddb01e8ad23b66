//! skycap as its operators observe it: the queries of the dashboard on a real Prometheus, the access
//! log, and spans.

use std::{fs, time::Duration};

use anyhow::Context as _;
use serde_json::{Value, json};
use skycap::desired::istio::PluginKind;
use skycap_tests::{
    cluster::{Agent, Prometheus, local_address},
    fixture::{
        Fixture,
        istio_shop::{IstioShop, send_from, with_istio_shop},
        manifests::{endpoints_at, sandbox, service},
        module_path,
        otlp::{Receiver, attribute},
        run,
    },
    workspace,
};

#[test]
fn every_query_of_the_dashboard_has_an_answer() -> anyhow::Result<()> {
    with_istio_shop(PluginKind::TrafficExtension, async |fixture, shop| {
        let agents: Vec<_> = shop.agents.values().map(Agent::metrics_address).collect();
        let controller = shop.controller.as_ref().context("no controller")?.address();
        let folder = fixture.cluster.folder();
        let prometheus = Prometheus::start(folder, &agents, &[controller]).await?;
        fixture.apply(&sandbox("pr-2", json!({"routes": "pricing: pricing-pr-2"}))).await?;
        let load = tokio::spawn(async {
            loop {
                for baggage in ["sandbox=pr-2", "sandbox=pr-3", "sandbox=%zz"] {
                    // The answers do not matter here, only that they are counted.
                    drop(send_from("frontend", "pricing.shop", &[("baggage", baggage)]).await);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let dashboard = fs::read_to_string(workspace::root().join("deploy/dashboard.json"))?;
        let queries = expressions(&serde_json::from_str(&dashboard)?);
        anyhow::ensure!(queries.len() > 10, "only {} queries", queries.len());
        for query in &queries {
            let has_numbers = async |_: &Fixture| {
                let answer = prometheus.query(query).await?;
                Ok(!answer.is_empty() && answer.iter().all(|series| series["value"][1] != "NaN"))
            };
            fixture.until(query, has_numbers).await?;
        }
        load.abort();
        println!("{} queries of the dashboard have an answer", queries.len());
        Ok(())
    })
}

#[test]
fn the_access_log_has_requests_with_baggage_and_their_cluster() -> anyhow::Result<()> {
    with_istio_shop(PluginKind::WasmPlugin, async |fixture, shop| {
        fixture.apply(&sandbox("pr-2", json!({"routes": "pricing: pricing-pr-2"}))).await?;
        let log = rendered(fixture, "--access-log", "EnvoyFilter").await?;
        fixture.apply(&log).await?;
        let is_logged = async |_: &Fixture| {
            send_from("frontend", "pricing.shop", &[("baggage", "a=b,sandbox=pr-2")]).await?;
            send_from("frontend", "cart.shop", &[]).await?;
            let text = shop.agent("frontend")?.log();
            let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let lines: Vec<_> = lines.filter(|line| line.get("baggage").is_some()).collect();
            anyhow::ensure!(
                lines.iter().all(|line| line["baggage"] == "a=b,sandbox=pr-2"),
                "a request without baggage is logged: {lines:?}"
            );
            let cluster = "outbound|80||pricing-pr-2.shop.svc.cluster.local";
            Ok(lines.iter().any(|line| line["cluster"] == cluster && line["route"] == "skycap"))
        };
        fixture.until("the access log", is_logged).await?;
        // `uninstall` removes it, too.
        fixture.skycap(&["uninstall"]).await?;
        fixture.nothing_is_left().await
    })
}

#[test]
fn spans_have_the_baggage() -> anyhow::Result<()> {
    run(PluginKind::TrafficExtension, async |fixture: &mut Fixture| {
        fixture.cluster.module_url = format!("file://{}", module_path()?.display());
        let receiver = Receiver::default();
        trace_to(fixture, &receiver).await?;
        let mut tag = rendered(fixture, "--spans", "Telemetry").await?;
        // By default, Istio samples one request of a hundred.
        tag["spec"]["tracing"][0]["randomSamplingPercentage"] = 100.into();
        fixture.apply(&tag).await?;
        let _shop = IstioShop::open(fixture, &["frontend"]).await?;
        let is_tagged = async |_: &Fixture| {
            send_from("frontend", "pricing.shop", &[("baggage", "a=b,sandbox=pr-2")]).await?;
            let spans = receiver.spans()?;
            Ok(spans.iter().any(|span| attribute(span, "baggage").contains("a=b,sandbox=pr-2")))
        };
        fixture.until("a span with the baggage", is_tagged).await?;
        Ok(())
    })
}

/// Sets up a mesh that sends its spans to this receiver, as an operator does.
async fn trace_to(fixture: &mut Fixture, receiver: &Receiver) -> anyhow::Result<()> {
    let collector = receiver.serve(local_address()?).await?;
    let mut service = service("collector");
    service["spec"]["ports"] = json!([{"name": "grpc", "port": 4317}]);
    fixture.apply(&service).await?;
    let mut slice = endpoints_at("collector", collector.port(), true)?;
    slice["ports"][0]["name"] = "grpc".into();
    fixture.apply(&slice).await?;
    let provider = json!({"service": "collector.shop.svc.cluster.local", "port": 4317});
    let config = &mut fixture.cluster.mesh_config;
    let providers = json!([{"name": "otel", "opentelemetry": provider}]);
    config.insert("extensionProviders".into(), providers);
    config.insert("defaultProviders".into(), json!({"tracing": ["otel"]}));
    config.insert("enableTracing".into(), true.into());
    Ok(())
}

/// The object of this kind that `render` prints with this flag.
async fn rendered(fixture: &Fixture, flag: &str, kind: &str) -> anyhow::Result<Value> {
    let args = ["render", flag, "--image", "i", "--module-url", "file:///m.wasm"];
    let documents: Vec<Value> = serde_saphyr::from_multiple(&fixture.skycap(&args).await?)?;
    let object = documents.into_iter().find(|object| object["kind"] == kind);
    object.with_context(|| format!("`render {flag}` prints no {kind}"))
}

/// All `expr` fields of a dashboard.
fn expressions(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let own = fields.get("expr").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(fields.values().flat_map(expressions)).collect()
        }
        Value::Array(values) => values.iter().flat_map(expressions).collect(),
        _ => Vec::new(),
    }
}
