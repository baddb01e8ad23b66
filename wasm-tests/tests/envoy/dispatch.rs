//! Each dispatch, and what the filter answers and counts, in one Envoy in front of the shop.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use skycap_tests::{
    client::{self, Answer},
    envoy::{self, Bootstrap, Envoy, bootstrap::Service},
    fixture::{istio_shop::header_map, module_path},
    shop::{Shop, Visit},
};

use super::shop::{TABLE, open_shop};

/// An Envoy of two workers in front of the shop's workloads.
pub(super) struct Probe {
    pub(super) envoy: Envoy,
    _servers: Shop,
    _folder: tempfile::TempDir,
}

impl Probe {
    pub(super) async fn start(
        table: &str,
        dispatch_route: bool,
        module: PathBuf,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let shop = open_shop(r#"{"version":"1.0"}"#, &folder.path().join("shop")).await?;
        let mut services = shop.services();
        // One target also has another port.
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
        Ok(Self { envoy, _servers: shop, _folder: folder })
    }

    pub(super) async fn get(&self, host: &str, lines: &[(&str, &str)]) -> anyhow::Result<Answer> {
        client::send(self.envoy.process.listener("80")?, host, &header_map(lines)?).await
    }
}

/// The first workload of an answer, or its status.
pub(super) fn first(answer: &Answer) -> String {
    serde_json::from_str::<Visit>(&answer.body)
        .ok()
        .and_then(|visit| visit.path.first().cloned())
        .unwrap_or_else(|| answer.status.as_u16().to_string())
}

/// The table with this dispatch.
fn table(dispatch: &str) -> String {
    TABLE.replacen('{', &format!("{{\"dispatch\":\"{dispatch}\","), 1)
}

#[tokio::test]
async fn a_request_goes_to_its_sandbox_in_each_dispatch() -> anyhow::Result<()> {
    let key = ("baggage", "sandbox=pr-2");
    for (dispatch, dispatch_route) in [("cluster-header", true), ("authority", false)] {
        let probe = Probe::start(&table(dispatch), dispatch_route, module_path()?).await?;
        let address = probe.envoy.process.listener("80")?;
        for (lines, expected) in [
            (&[][..], "pricing"),
            (&[key], "pricing-pr-2"),
            (&[("baggage", "a=b"), key], "pricing-pr-2"),
            (&[("baggage", "sandbox=zz")], "pricing"),
            (&[("x-skycap-cluster", "")], "pricing"),
            (&[("x-skycap-cluster", "nowhere")], "pricing"),
            (&[("x-skycap-cluster", "nowhere"), ("x-skycap-cluster", "too"), key], "pricing-pr-2"),
        ] {
            let lines = header_map(lines)?;
            let one = first(&client::send(address, "pricing.shop", &lines).await?);
            let two = first(&client::send_http2(address, "pricing.shop", &lines).await?);
            anyhow::ensure!(one == expected, "{dispatch}, HTTP/1.1: {lines:?} went to {one}");
            anyhow::ensure!(two == expected, "{dispatch}, HTTP/2: {lines:?} went to {two}");
        }
        // Dispatch `authority` keeps the port, so it does not reach a target with another one.
        let other = probe.get("cart.shop", &[("baggage", "sandbox=other-port")]).await?;
        let expected = if dispatch == "authority" { "cart" } else { "pricing-pr-2" };
        anyhow::ensure!(first(&other) == expected, "{dispatch}: {other:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_unavailable_sandbox_is_a_503_in_each_dispatch() -> anyhow::Result<()> {
    for (dispatch, dispatch_route) in
        [("cluster-header", true), ("authority", false), ("header", false)]
    {
        let probe = Probe::start(&table(dispatch), dispatch_route, module_path()?).await?;
        let explained = [("baggage", "sandbox=gone"), ("x-skycap-explain", "1")];
        let gone = probe.get("cart.shop", &explained).await?;
        anyhow::ensure!(gone.status == 503 && gone.body.contains("key `gone`"), "{gone:?}");
        let decision = gone.headers.get("x-skycap-decision").context("no decision")?;
        anyhow::ensure!(decision.to_str()?.contains(";reason=unavailable;"), "{decision:?}");
        anyhow::ensure!(gone.headers.get("x-skycap-sandbox").is_some_and(|key| key == "gone"));
    }
    Ok(())
}

#[tokio::test]
async fn dispatch_header_sets_the_key_and_does_not_route() -> anyhow::Result<()> {
    let probe = Probe::start(&table("header"), false, module_path()?).await?;
    for (lines, key) in [
        (&[][..], ""),
        (&[("baggage", "sandbox=pr-2")], "pr-2"),
        (&[("x-skycap-sandbox", "pr-9")], ""),
        (&[("x-skycap-sandbox", "pr-9"), ("baggage", "sandbox=pr-2")], "pr-2"),
    ] {
        let answer = probe.get("pricing.shop", lines).await?;
        let visit: Visit = serde_json::from_str(&answer.body)?;
        anyhow::ensure!(visit.path == ["pricing"] && visit.keys == [key], "{lines:?}: {visit:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_target_that_envoy_does_not_know_is_a_503() -> anyhow::Result<()> {
    let probe = Probe::start(TABLE, true, module_path()?).await?;
    let answer = probe.get("cart.shop", &[("baggage", "sandbox=nowhere")]).await?;
    anyhow::ensure!(answer.status == 503, "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn counters_are_stats_with_labels() -> anyhow::Result<()> {
    let probe = Probe::start(TABLE, true, module_path()?).await?;
    for baggage in ["a=b", "sandbox=zz", "sandbox=p/r", "sandbox=pr-2", "sandbox=pr-2"] {
        probe.get("pricing.shop", &[("baggage", baggage)]).await?;
    }
    // The counts of each worker's module reach Envoy within a second.
    let expected = [
        r#"skycap_requests_total{outcome="routed"} 2"#,
        r#"skycap_requests_total{outcome="unknown_key"} 1"#,
        r#"skycap_requests_total{outcome="no_key"} 2"#,
        r#"skycap_drops_total{reason="invalid_key"} 1"#,
    ];
    for _ in 0..100 {
        let stats = probe.envoy.process.admin("/stats/prometheus").await?;
        if expected.iter().all(|line| stats.lines().any(|other| other == *line)) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let stats = probe.envoy.process.admin("/stats/prometheus").await?;
    anyhow::bail!("not all of {expected:?} in: {stats}")
}
