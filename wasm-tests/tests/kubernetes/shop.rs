//! A shop behind a real istiod: three workloads, one of them a sandbox, and the sidecar of a client.

use std::net::SocketAddr;

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use serde_json::{Value, json};
use skycap::{desired::istio::PluginKind, table::meshes::Meshes};
use skycap_tests::{
    client,
    cluster::{Controller, local_address},
    echo::Echo,
    envoy, module,
};

use super::{Fixture, run_on, sandbox, service};

/// A shop in which `pr-1` is routed, by a controller, istiod and a sidecar.
pub(crate) fn on_istio(
    plugin: PluginKind,
    test: impl AsyncFnOnce(&mut Fixture, Controller) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    run_on(&Meshes::default(), plugin, async |fixture: &mut Fixture| {
        let module = module::build()?;
        fixture.cluster.module_url = format!("file://{}", module.display());
        let _shop = open(fixture).await?;
        let controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        let _sidecar = fixture.cluster.sidecar(&envoy::obtain()?, "client", "shop").await?;
        answers(fixture, "cart-pr-1", "a sandbox").await?;
        test(fixture, controller).await
    })
}

/// Starts istiod and the workloads.
pub(crate) async fn open(fixture: &mut Fixture) -> anyhow::Result<Vec<Echo>> {
    fixture
        .apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "web"}}))
        .await?;
    let mut shop = Vec::new();
    for name in ["cart", "cart-pr-1", "pricing"] {
        let echo = Echo::start(name).await?;
        fixture.apply(&service(name)).await?;
        fixture.apply(&endpoints(name, echo.port, true)?).await?;
        shop.push(echo);
    }
    fixture.cluster.start_istiod().await?;
    Ok(shop)
}

/// Waits until a request for the cart with `pr-1` is answered by this workload.
pub(crate) async fn answers(fixture: &Fixture, workload: &str, what: &str) -> anyhow::Result<()> {
    let wanted = format!("{workload} cart.shop");
    let holds =
        async |_: &Fixture| Ok(ask("cart.shop", &[("baggage", "sandbox=pr-1")]).await? == wanted);
    fixture.until(what, holds).await
}

/// What a workload answers to a request by the sidecar of port 80; a status other than 200 comes
/// before it.
pub(crate) async fn ask(host: &str, headers: &[(&str, &str)]) -> anyhow::Result<String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::try_from(*name)?, HeaderValue::try_from(*value)?);
    }
    let answer = client::send(SocketAddr::from(([127, 0, 0, 1], 80)), host, &map).await?;
    let status = answer.status.as_u16();
    Ok(if status == 200 { answer.body } else { format!("{status} {}", answer.body) })
}

/// The only endpoint of a workload: a port of this machine.
pub(crate) fn endpoints(service: &str, port: u16, ready: bool) -> anyhow::Result<Value> {
    let mut slice = super::endpoints(service, ready);
    slice["endpoints"][0]["addresses"] = json!([local_address()?]);
    slice["ports"][0]["port"] = port.into();
    Ok(slice)
}
