//! What is seen of skycap from outside: every query of the dashboard on a real Prometheus, and the
//! access log, on Istio's own programs.

mod kubernetes;
mod otlp;

use std::{fs, time::Duration};

use anyhow::Context as _;
use kubernetes::{
    Fixture,
    mesh::{Mesh, from, on_mesh},
    run, sandbox, service,
    shop::endpoints,
};
use otlp::{Receiver, attribute};
use serde_json::{Value, json};
use skycap::desired::istio::PluginKind;
use skycap_tests::{
    cluster::{Agent, Prometheus, local_address},
    module, workspace,
};

#[test]
fn every_query_of_the_dashboard_has_an_answer() -> anyhow::Result<()> {
    on_mesh(PluginKind::TrafficExtension, async |fixture: &mut Fixture, mesh: &mut Mesh| {
        let agents: Vec<_> = mesh.agents.values().map(Agent::metrics_address).collect();
        let controller = mesh.controller.as_ref().context("no controller")?.address();
        let folder = fixture.cluster.folder();
        let prometheus = Prometheus::start(folder, &agents, &[controller]).await?;
        fixture.apply(&sandbox("pr-2", json!({"routes": "pricing: pricing-pr-2"}))).await?;
        let load = tokio::spawn(async {
            loop {
                for baggage in ["sandbox=pr-2", "sandbox=pr-3", "sandbox=%zz"] {
                    // What is lost here is no concern of this test's.
                    drop(from("frontend", "pricing.shop", &[("baggage", baggage)]).await);
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
fn the_access_log_says_where_requests_with_baggage_went() -> anyhow::Result<()> {
    on_mesh(PluginKind::WasmPlugin, async |fixture: &mut Fixture, mesh: &mut Mesh| {
        fixture.apply(&sandbox("pr-2", json!({"routes": "pricing: pricing-pr-2"}))).await?;
        let rendered = fixture.skycap(&["render", "--access-log"]).await?;
        let documents: Vec<Value> = serde_saphyr::from_multiple(&rendered)?;
        let log = documents.iter().find(|object| object["metadata"]["name"] == "skycap-access-log");
        fixture.apply(log.context("nothing rendered")?).await?;
        let logged = async |_: &Fixture| {
            from("frontend", "pricing.shop", &[("baggage", "a=b,sandbox=pr-2")]).await?;
            from("frontend", "cart.shop", &[]).await?;
            let text = mesh.agent("frontend").log();
            let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let lines: Vec<_> = lines.filter(|line| line.get("baggage").is_some()).collect();
            anyhow::ensure!(
                lines.iter().all(|line| line["baggage"] == "a=b,sandbox=pr-2"),
                "a request without baggage is logged: {lines:?}"
            );
            let cluster = "outbound|80||pricing-pr-2.shop.svc.cluster.local";
            Ok(lines.iter().any(|line| line["cluster"] == cluster && line["route"] == "skycap"))
        };
        fixture.until("the access log", logged).await?;
        // It goes with the rest.
        fixture.skycap(&["uninstall"]).await?;
        fixture.nothing_is_left().await
    })
}

#[test]
fn spans_carry_the_baggage() -> anyhow::Result<()> {
    run(PluginKind::TrafficExtension, async |fixture: &mut Fixture| {
        fixture.cluster.module_url = format!("file://{}", module::build()?.display());
        let receiver = Receiver::default();
        let collector = receiver.serve(local_address()?).await?;
        let mut service = service("collector");
        service["spec"]["ports"] = json!([{"name": "grpc", "port": 4317}]);
        fixture.apply(&service).await?;
        let mut slice = endpoints("collector", collector.port(), true)?;
        slice["ports"][0]["name"] = "grpc".into();
        fixture.apply(&slice).await?;
        // A mesh that traces, as its people have set it up.
        let provider = json!({"service": "collector.shop.svc.cluster.local", "port": 4317});
        let providers = json!([{"name": "otel", "opentelemetry": provider}]);
        let config = &mut fixture.cluster.mesh_config;
        config.insert("extensionProviders".into(), providers);
        config.insert("defaultProviders".into(), json!({"tracing": ["otel"]}));
        config.insert("enableTracing".into(), true.into());
        let rendered = fixture.skycap(&["render", "--spans"]).await?;
        let documents: Vec<Value> = serde_saphyr::from_multiple(&rendered)?;
        let tag = documents.iter().find(|object| object["kind"] == "Telemetry");
        let mut tag = tag.context("nothing rendered")?.clone();
        // Of one request in a hundred there would be little to see here.
        tag["spec"]["tracing"][0]["randomSamplingPercentage"] = 100.into();
        fixture.apply(&tag).await?;
        let _mesh = Mesh::open(fixture, &["frontend"]).await?;
        let is_tagged = async |_: &Fixture| {
            from("frontend", "pricing.shop", &[("baggage", "a=b,sandbox=pr-2")]).await?;
            let spans = receiver.spans.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
            Ok(spans.iter().any(|span| attribute(span, "baggage").contains("a=b,sandbox=pr-2")))
        };
        fixture.until("a span with the baggage", is_tagged).await
    })
}

/// All `expr` of a dashboard.
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
