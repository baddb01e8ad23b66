//! The shop with an Envoy for each workload: three hops, each routed by its own sidecar.

use std::path::Path;

use skycap_tests::{
    envoy,
    fixture::{istio_shop::header_map, module_path},
    shop::Shop,
};

pub(super) const TABLE: &str = r#"{"version":"1.0","explain":"on","carriers":[{"baggage":"sandbox"}],
    "routes":[{"service":"cart.shop","to":"cart-{key}"},{"service":"pricing.shop","to":"pricing-{key}"},
        {"service":"frontend.shop","to":"frontend-{key}"},
        {"service":"cart.shop","to":"cart-{key}","unavailable":true},
        {"service":"cart.shop","to":"pricing-pr-2","toPort":8080}],
    "keys":"pr-1:0 pr-2:2,1 gone:3 nowhere:0 other-port:4"}"#;

pub(super) async fn open_shop(table: &str, folder: &Path) -> anyhow::Result<Shop> {
    let workloads = ["frontend", "cart", "pricing", "cart-pr-1", "frontend-pr-2", "pricing-pr-2"];
    Shop::open(&workloads, &envoy::obtain()?, &module_path()?, table, folder).await
}

#[tokio::test]
async fn each_of_three_hops_is_routed_by_its_own_sidecar() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let shop = open_shop(TABLE, folder.path()).await?;
    for (baggage, path) in [
        ("a=b", ["frontend", "cart", "pricing"]),
        ("sandbox=pr-1", ["frontend", "cart-pr-1", "pricing"]),
        ("sandbox=pr-2", ["frontend-pr-2", "cart", "pricing-pr-2"]),
        ("sandbox=pr-12", ["frontend", "cart", "pricing"]),
    ] {
        let (visit, _) = shop.visit(&header_map(&[("baggage", baggage)])?).await?;
        anyhow::ensure!(visit.path == path, "`{baggage}` took {:?}", visit.path);
        // Dispatch `cluster-header` leaves the Host as the application wrote it.
        anyhow::ensure!(visit.hosts == ["frontend.shop", "cart", "pricing"], "{:?}", visit.hosts);
    }
    Ok(())
}

#[tokio::test]
async fn one_request_explains_every_hop() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let shop = open_shop(TABLE, folder.path()).await?;
    let asked = header_map(&[("baggage", "sandbox=pr-2"), ("x-skycap-explain", "1")])?;
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
    let (_, answer) = shop.visit(&header_map(&[("baggage", "sandbox=pr-2")])?).await?;
    anyhow::ensure!(
        answer.get("x-skycap-decision").is_none(),
        "a decision without `x-skycap-explain`"
    );
    Ok(())
}
