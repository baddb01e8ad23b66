//! The built module in real Envoys.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use hyper::{HeaderMap, header::HeaderName};
use skycap_tests::{
    client::{self, Answer},
    envoy::{self, Bootstrap, Envoy, bootstrap::Service},
    module,
    shop::{self, Shop, Visit},
};

const TABLE: &str = r#"{"version":"1.0","explain":"on","carriers":[{"baggage":"sandbox"}],
    "routes":[{"service":"cart.shop","to":"cart-{key}"},{"service":"pricing.shop","to":"pricing-{key}"},
        {"service":"frontend.shop","to":"frontend-{key}"},
        {"service":"cart.shop","to":"cart-{key}","unavailable":true},
        {"service":"cart.shop","to":"pricing-pr-2","toPort":8080}],
    "keys":"pr-1:0 pr-2:2,1 gone:3 nowhere:0 other-port:4"}"#;

/// An Envoy with four services behind it, each of which answers with its name.
struct Fixture {
    envoy: Envoy,
    _servers: Shop,
    _folder: tempfile::TempDir,
}

fn headers(lines: &[(&str, &str)]) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::try_from(*name)?, value.parse()?);
    }
    Ok(headers)
}

async fn open_shop(table: &str, folder: &Path) -> anyhow::Result<Shop> {
    let workloads = ["frontend", "cart", "pricing", "cart-pr-1", "frontend-pr-2", "pricing-pr-2"];
    Shop::open(&workloads, &envoy::obtain()?, &module::build()?, table, folder).await
}

#[tokio::test]
async fn three_hops_each_by_its_own_sidecar() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let shop = open_shop(TABLE, folder.path()).await?;
    for (baggage, path) in [
        ("a=b", ["frontend", "cart", "pricing"]),
        ("sandbox=pr-1", ["frontend", "cart-pr-1", "pricing"]),
        ("sandbox=pr-2", ["frontend-pr-2", "cart", "pricing-pr-2"]),
        ("sandbox=pr-12", ["frontend", "cart", "pricing"]),
    ] {
        let (visit, _) = shop.visit(&headers(&[("baggage", baggage)])?).await?;
        anyhow::ensure!(visit.path == path, "`{baggage}` took {:?}", visit.path);
        // Dispatch `cluster-header` leaves the host as the application wrote it.
        anyhow::ensure!(visit.hosts == ["frontend.shop", "cart", "pricing"], "{:?}", visit.hosts);
    }
    Ok(())
}

#[tokio::test]
async fn one_request_explains_every_hop() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let shop = open_shop(TABLE, folder.path()).await?;
    let asked = headers(&[("baggage", "sandbox=pr-2"), ("x-skycap-explain", "1")])?;
    let (_, answer) = shop.visit(&asked).await?;
    let lines: Vec<_> = answer.get_all("x-skycap-decision").iter().collect();
    let expected = [
        "\"pricing.shop:80\";reason=routed",
        "\"cart.shop:80\";reason=not_replaced",
        "\"frontend.shop:80\";reason=routed",
    ];
    let fits = lines.len() == 3
        && lines
            .iter()
            .zip(expected)
            .all(|(line, start)| line.to_str().is_ok_and(|line| line.starts_with(start)));
    anyhow::ensure!(fits, "{lines:?}");
    let (_, unasked) = shop.visit(&headers(&[("baggage", "sandbox=pr-2")])?).await?;
    anyhow::ensure!(unasked.get("x-skycap-decision").is_none(), "nobody asked");
    Ok(())
}

#[tokio::test]
async fn a_table_that_is_refused_loses_no_request() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut shop = open_shop(TABLE, folder.path()).await?;
    let running = Arc::new(AtomicBool::new(true));
    let gateway = shop.gateway()?;
    let load = {
        let running = Arc::clone(&running);
        tokio::spawn(async move {
            let mut visits = Vec::new();
            let mut clock = tokio::time::interval(Duration::from_millis(5));
            while running.load(Ordering::Relaxed) {
                clock.tick().await;
                visits.push(tokio::spawn(async move {
                    let lines = headers(&[("baggage", "sandbox=pr-1")])?;
                    shop::visit(gateway, &lines).await
                }));
            }
            visits
        })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    for bad in ["{}", r#"{"version":"2.0"}"#, "no JSON"] {
        anyhow::ensure!(shop.push(bad).await.is_err(), "Envoy took `{bad}`");
        // The same table in other words is taken in between.
        shop.push(&format!("{TABLE}{}", " ".repeat(bad.len()))).await?;
    }
    running.store(false, Ordering::Relaxed);
    let visits = load.await?;
    anyhow::ensure!(visits.len() > 50, "only {} requests", visits.len());
    for visit in visits {
        let (Visit { path, .. }, _) = visit.await??;
        anyhow::ensure!(path == ["frontend", "cart-pr-1", "pricing"], "misrouted by {path:?}");
    }
    Ok(())
}

async fn fixture(table: &str, dispatch_route: bool, module: PathBuf) -> anyhow::Result<Fixture> {
    let folder = tempfile::tempdir()?;
    // The shop's own servers, seen through one more Envoy.
    let shop = open_shop(r#"{"version":"1.0"}"#, &folder.path().join("shop")).await?;
    let mut services = shop.services();
    // One target has another port number too.
    let target = services.iter().find(|service| service.name == "pricing-pr-2").cloned();
    services.extend(target.map(|service| Service { port: 8080, ..service }));
    let bootstrap = Bootstrap {
        node: "probe.shop".into(),
        module: Some(module),
        services,
        workers: 2,
        dispatch_route,
    };
    let probe = folder.path().join("probe");
    let envoy = Envoy::start(&envoy::obtain()?, bootstrap, table, &probe).await?;
    Ok(Fixture { envoy, _servers: shop, _folder: folder })
}

impl Fixture {
    async fn get(&self, host: &str, lines: &[(&str, &str)]) -> anyhow::Result<Answer> {
        client::send(self.envoy.process.listener("80")?, host, &headers(lines)?).await
    }
}

/// The first workload of an answer, or its status.
fn first(answer: &Answer) -> String {
    serde_json::from_str::<Visit>(&answer.body)
        .ok()
        .and_then(|visit| visit.path.first().cloned())
        .unwrap_or_else(|| answer.status.as_u16().to_string())
}

#[tokio::test]
async fn every_dispatch_and_every_answer() -> anyhow::Result<()> {
    let key = ("baggage", "sandbox=pr-2");
    let table = |dispatch: &str| TABLE.replacen('{', &format!("{{\"dispatch\":\"{dispatch}\","), 1);
    for http2 in [false, true] {
        for (dispatch, dispatch_route) in [("cluster-header", true), ("authority", false)] {
            let fixture = fixture(&table(dispatch), dispatch_route, module::build()?).await?;
            let address = fixture.envoy.process.listener("80")?;
            for (lines, expected) in [
                (&[][..], "pricing"),
                (&[key], "pricing-pr-2"),
                (&[("baggage", "a=b"), key], "pricing-pr-2"),
                (&[("baggage", "sandbox=zz")], "pricing"),
                (&[("x-skycap-cluster", "")], "pricing"),
                (&[("x-skycap-cluster", "nowhere")], "pricing"),
                (
                    &[("x-skycap-cluster", "nowhere"), ("x-skycap-cluster", "too"), key],
                    "pricing-pr-2",
                ),
            ] {
                let lines = headers(lines)?;
                let answer = if http2 {
                    client::send_http2(address, "pricing.shop", &lines).await?
                } else {
                    client::send(address, "pricing.shop", &lines).await?
                };
                let way = first(&answer);
                anyhow::ensure!(way == expected, "{dispatch}, HTTP/2 {http2}: {lines:?} got {way}");
            }
            // Dispatch `authority` keeps the port, and so does not reach another.
            let other = fixture.get("cart.shop", &[("baggage", "sandbox=other-port")]).await?;
            let expected = if dispatch == "authority" { "cart" } else { "pricing-pr-2" };
            anyhow::ensure!(first(&other) == expected, "{dispatch}: {other:?}");
            let explained = [("baggage", "sandbox=gone"), ("x-skycap-explain", "1")];
            let gone = fixture.get("cart.shop", &explained).await?;
            anyhow::ensure!(gone.status == 503 && gone.body.contains("sandbox gone"), "{gone:?}");
            let decision = gone.headers.get("x-skycap-decision").context("no decision")?;
            anyhow::ensure!(decision.to_str()?.contains(";reason=unavailable;"), "{decision:?}");
            anyhow::ensure!(gone.headers.get("x-skycap-sandbox").is_some_and(|key| key == "gone"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn dispatch_header_names_the_key_and_moves_nothing() -> anyhow::Result<()> {
    let table = TABLE.replacen('{', "{\"dispatch\":\"header\",", 1);
    let fixture = fixture(&table, false, module::build()?).await?;
    for (lines, key) in [
        (&[][..], ""),
        (&[("baggage", "sandbox=pr-2")], "pr-2"),
        (&[("x-skycap-sandbox", "pr-9")], ""),
        (&[("x-skycap-sandbox", "pr-9"), ("baggage", "sandbox=pr-2")], "pr-2"),
    ] {
        let answer = fixture.get("pricing.shop", lines).await?;
        let visit: Visit = serde_json::from_str(&answer.body)?;
        anyhow::ensure!(visit.path == ["pricing"] && visit.keys == [key], "{lines:?}: {visit:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_target_that_envoy_does_not_know_is_a_503() -> anyhow::Result<()> {
    let fixture = fixture(TABLE, true, module::build()?).await?;
    let answer = fixture.get("cart.shop", &[("baggage", "sandbox=nowhere")]).await?;
    anyhow::ensure!(answer.status == 503, "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn counters_are_stats_with_labels() -> anyhow::Result<()> {
    let fixture = fixture(TABLE, true, module::build()?).await?;
    for baggage in ["a=b", "sandbox=zz", "sandbox=p/r", "sandbox=pr-2", "sandbox=pr-2"] {
        fixture.get("pricing.shop", &[("baggage", baggage)]).await?;
    }
    // What each worker's module counted reaches Envoy within a second.
    let expected = [
        r#"skycap_requests_total{outcome="routed"} 2"#,
        r#"skycap_requests_total{outcome="unknown_key"} 1"#,
        r#"skycap_requests_total{outcome="no_key"} 2"#,
        r#"skycap_drops_total{reason="invalid_key"} 1"#,
    ];
    for _ in 0..100 {
        let stats = fixture.envoy.process.admin("/stats/prometheus").await?;
        if expected.iter().all(|line| stats.lines().any(|other| other == *line)) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("no counter came: {}", fixture.envoy.process.admin("/stats/prometheus").await?)
}

#[tokio::test]
async fn a_first_table_that_is_bad_and_comes_again() -> anyhow::Result<()> {
    let bad = r#"{"version":"2.0"}"#;
    let mut fixture = fixture(bad, true, module::build()?).await?;
    let key = [("baggage", "sandbox=pr-2")];
    let way =
        async |fixture: &Fixture| anyhow::Ok(first(&fixture.get("pricing.shop", &key).await?));
    anyhow::ensure!(way(&fixture).await? == "pricing", "no table, no sandbox");
    let forged = fixture.get("pricing.shop", &[("x-skycap-cluster", "nowhere")]).await?;
    anyhow::ensure!(first(&forged) == "pricing", "{forged:?}");
    anyhow::ensure!(fixture.envoy.push(TABLE).await?, "a good table is refused");
    anyhow::ensure!(way(&fixture).await? == "pricing-pr-2");
    // Envoy remembers that it took this one once, and asks the workers alone.
    let _ = fixture.envoy.push(bad).await?;
    anyhow::ensure!(way(&fixture).await? == "pricing-pr-2", "the old table is gone");
    Ok(())
}
