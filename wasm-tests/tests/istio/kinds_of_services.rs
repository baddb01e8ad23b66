//! Services of all kinds are replaced: with a sniffed protocol, headless, gRPC, WebSocket.

use std::net::SocketAddr;

use serde_json::json;
use skycap::desired::istio::PluginKind;
use skycap_tests::{
    cluster::{Pod, local_address},
    fixture::{
        Fixture, grpc,
        istio_shop::{outbound, path_of, send_from, with_istio_shop},
        manifests::{endpoints_at, sandbox, service},
        websocket,
    },
    shop::Workload,
};

const KEY: (&str, &str) = ("baggage", "sandbox=pr-1");
/// The kinds, the port of each, and the port's name.
const KINDS: [(&str, u16, &str); 4] = [
    ("sniffed", 9_000, "api"),
    ("headless", 80, "http"),
    ("rpc", 7_000, "grpc"),
    ("socket", 9_100, "http"),
];

#[test]
fn services_of_all_kinds_are_replaced() -> anyhow::Result<()> {
    with_istio_shop(PluginKind::WasmPlugin, async |fixture, _shop| {
        let _workloads = start_services(fixture).await?;
        let routes = KINDS.map(|(kind, ..)| format!("{kind}: {kind}-pr-1")).join("\n");
        fixture.apply(&sandbox("pr-1", json!({"routes": routes}))).await?;
        let at = |port: u16| SocketAddr::from((outbound("frontend"), port));
        // Not the baseline of the headless Service: without iptables, Envoy does not know the address
        // that the client connected to.
        for (host, port, baggage, wanted) in [
            ("sniffed.shop", 9_000, "a=b", "sniffed"),
            ("sniffed.shop", 9_000, KEY.1, "sniffed-pr-1"),
            ("headless.shop", 80, KEY.1, "headless-pr-1"),
        ] {
            let holds = async |_: &Fixture| {
                Ok(path_of(at(port), host, "/", &[("baggage", baggage)]).await? == wanted)
            };
            fixture.until(wanted, holds).await?;
        }
        for (baggage, suffix) in [("a=b", ""), (KEY.1, "-pr-1")] {
            let (rpc, socket) = (format!("rpc{suffix}"), format!("socket{suffix}"));
            let reaches = async |_: &Fixture| {
                Ok(grpc::reaches(&rpc, at(7_000), "rpc.shop", baggage).await?
                    && websocket::reaches(&socket, at(9_100), "socket.shop", baggage).await?)
            };
            fixture.until(&format!("gRPC and a WebSocket with `{baggage}`"), reaches).await?;
        }

        let only = json!({"mode": "REGISTRY_ONLY"});
        fixture.apply(&Pod::sidecar("frontend").outbound(outbound("frontend"), &only)).await?;
        let is_blocked = async |_: &Fixture| {
            Ok(send_from("frontend", "example.com", &[]).await?.starts_with("502"))
        };
        fixture.until("REGISTRY_ONLY is in effect", is_blocked).await?;
        let seen = send_from("frontend", "headless.shop", &[KEY]).await?;
        anyhow::ensure!(seen == "headless-pr-1", "under REGISTRY_ONLY: `{seen}`");
        Ok(())
    })
}

/// Starts a baseline and a sandbox of each kind.
async fn start_services(fixture: &Fixture) -> anyhow::Result<Vec<Workload>> {
    let ip = local_address()?;
    let mut workloads = Vec::new();
    for (kind, port, port_name) in KINDS {
        for name in [kind.to_owned(), format!("{kind}-pr-1")] {
            let endpoint = match kind {
                "rpc" => grpc::serve(ip, &name).await?,
                "socket" => websocket::serve(ip, &name).await?,
                _ => {
                    let workload = Workload::start(&name, ip).await?;
                    let address = workload.address;
                    workloads.push(workload);
                    address
                }
            };
            let mut service = service(&name);
            service["spec"]["ports"] = json!([{"name": port_name, "port": port}]);
            if name == "headless" {
                service["spec"]["clusterIP"] = "None".into();
            }
            fixture.apply(&service).await?;
            let mut slice = endpoints_at(&name, endpoint.port(), true)?;
            slice["ports"][0]["name"] = port_name.into();
            fixture.apply(&slice).await?;
        }
    }
    Ok(workloads)
}
