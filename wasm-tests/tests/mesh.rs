//! The demo's shop on Istio's own programs, from the gateway to the last hop.

mod kubernetes;
mod wire;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use kubernetes::{
    Fixture,
    mesh::{Mesh, enter, from, on_mesh, outbound, way},
    sandbox, service,
    shop::endpoints,
};
use serde_json::json;
use skycap::desired::istio::PluginKind;
use skycap_tests::{
    cluster::{Pod, local_address},
    envoy,
    shop::Workload,
};
use wire::{grpc_is_answered_by, grpc_server, websocket_is_answered_by, websocket_server};

#[test]
fn sandboxes_are_reached_from_the_gateway_to_the_last_hop() -> anyhow::Result<()> {
    on_mesh(PluginKind::TrafficExtension, async |fixture: &mut Fixture, mesh: &mut Mesh| {
        for (name, routes) in [
            ("first", "frontend: frontend-pr-1"),
            ("middle", "cart: cart-pr-1"),
            ("last", "pricing: pricing-pr-2"),
            ("two", "cart: cart-pr-2\npricing: pricing-pr-2"),
        ] {
            fixture.apply(&sandbox(name, json!({"routes": routes}))).await?;
        }
        let mut group = sandbox("all", json!({"members": "first, middle, two"}));
        group["metadata"]["labels"]["skycap.dev/kind"] = "group".into();
        fixture.apply(&group).await?;
        let forged = ("x-skycap-cluster", "outbound|80||pricing.shop.svc.cluster.local");
        let cases = [
            ("/", &[][..], "frontend > cart > pricing"),
            ("/", &[("baggage", "sandbox=first")], "frontend-pr-1 > cart > pricing"),
            ("/", &[("baggage", "sandbox=middle")], "frontend > cart-pr-1 > pricing"),
            ("/", &[("baggage", "sandbox=last")], "frontend > cart > pricing-pr-2"),
            ("/", &[("baggage", "a=b,sandbox=two")], "frontend > cart-pr-2 > pricing-pr-2"),
            ("/", &[("baggage", "sandbox=all")], "frontend-pr-1 > cart-pr-1 > pricing-pr-2"),
            ("/", &[("baggage", "sandbox=fir")], "frontend > cart > pricing"),
            // The gateway itself, by Host and by path.
            ("/cart/1", &[], "cart > pricing"),
            ("/cart/1", &[("baggage", "sandbox=middle")], "cart-pr-1 > pricing"),
            ("/", &[forged], "frontend > cart > pricing"),
            ("/", &[forged, ("baggage", "sandbox=first")], "frontend-pr-1 > cart > pricing"),
        ];
        let holds = async |_: &Fixture| {
            for (path, headers, wanted) in cases {
                let seen = enter(path, headers).await?;
                anyhow::ensure!(seen == wanted, "{path} {headers:?}: {seen}");
            }
            Ok(true)
        };
        fixture.until("each way through the shop", holds).await?;

        mesh.restart(fixture, &envoy::obtain()?, "cart").await?;
        fixture.until("each way, with a new agent", holds).await?;

        // What Prometheus gets has labels, at the port that Istio tells it.
        let routed = r#"outcome="routed""#;
        let counted = async |_: &Fixture| {
            Ok(mesh.agent("cart").metric("skycap_requests_total", &[routed]).await? >= 3.0)
        };
        fixture.until("routed requests are counted", counted).await?;

        // Who may not ask the sidecars is told so, and sees the rest.
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "viewer"},
            "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["list"]}, {
                "apiGroups": ["", "extensions.istio.io", "networking.istio.io", "coordination.k8s.io"],
                "resources": ["configmaps", "trafficextensions", "envoyfilters", "leases"],
                "verbs": ["get"],
            }],
        });
        let token = fixture.viewer(&role).await?;
        let mut command = fixture.command(&["status"])?;
        let output =
            command.env("KUBECONFIG", fixture.cluster.kubeconfig(&token)?).output().await?;
        let told = String::from_utf8(output.stderr)?;
        anyhow::ensure!(output.status.success() && told.contains("pods/proxy"), "{told}");
        Ok(())
    })
}

#[test]
fn services_of_all_kinds_are_replaced() -> anyhow::Result<()> {
    on_mesh(PluginKind::WasmPlugin, async |fixture: &mut Fixture, _mesh: &mut Mesh| {
        let (ip, name) = (local_address()?, |kind: &str| [kind.to_owned(), format!("{kind}-pr-1")]);
        let mut workloads = Vec::new();
        for (kind, port, port_name) in [
            ("sniffed", 9_000, "api"),
            ("headless", 80, "http"),
            ("rpc", 7_000, "grpc"),
            ("socket", 9_100, "http"),
        ] {
            for name in name(kind) {
                let endpoint = match kind {
                    "rpc" => grpc_server(ip, &name).await?,
                    "socket" => websocket_server(ip, &name).await?,
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
                let mut slice = endpoints(&name, endpoint.port(), true)?;
                slice["ports"][0]["name"] = port_name.into();
                fixture.apply(&slice).await?;
            }
        }
        let routes = ["sniffed", "headless", "rpc", "socket"]
            .map(|kind| format!("{kind}: {kind}-pr-1"))
            .join("\n");
        fixture.apply(&sandbox("pr-1", json!({"routes": routes}))).await?;
        let at = |port: u16| SocketAddr::from((outbound("frontend"), port));
        // Not the baseline of a headless Service: without iptables no Envoy knows what was dialed.
        for (host, port, baggage, wanted) in [
            ("sniffed.shop", 9_000, "a=b", "sniffed"),
            ("sniffed.shop", 9_000, KEY.1, "sniffed-pr-1"),
            ("headless.shop", 80, KEY.1, "headless-pr-1"),
        ] {
            let holds = async |_: &Fixture| {
                Ok(way(at(port), host, "/", &[("baggage", baggage)]).await? == wanted)
            };
            fixture.until(wanted, holds).await?;
        }
        for (baggage, sandboxed) in [("a=b", ""), (KEY.1, "-pr-1")] {
            let (rpc, socket) = (format!("rpc{sandboxed}"), format!("socket{sandboxed}"));
            let answered = async |_: &Fixture| {
                Ok(grpc_is_answered_by(&rpc, at(7_000), "rpc.shop", baggage).await?
                    && websocket_is_answered_by(&socket, at(9_100), "socket.shop", baggage).await?)
            };
            fixture.until(&format!("gRPC and a WebSocket with `{baggage}`"), answered).await?;
        }

        let only = json!({"mode": "REGISTRY_ONLY"});
        fixture.apply(&Pod::sidecar("frontend").outbound(outbound("frontend"), &only)).await?;
        let blocked =
            async |_: &Fixture| Ok(from("frontend", "example.com", &[]).await?.starts_with("502"));
        fixture.until("REGISTRY_ONLY", blocked).await?;
        let seen = from("frontend", "headless.shop", &[KEY]).await?;
        anyhow::ensure!(seen == "headless-pr-1", "under REGISTRY_ONLY: {seen}");
        Ok(())
    })
}

#[test]
fn sandboxes_that_come_and_go_lose_no_request() -> anyhow::Result<()> {
    on_mesh(PluginKind::TrafficExtension, async |fixture: &mut Fixture, _mesh: &mut Mesh| {
        let long = std::env::var("CI").is_ok_and(|ci| ci == "true");
        let end = Instant::now() + Duration::from_secs(if long { 300 } else { 30 });
        let load = (0..4).map(|client| tokio::spawn(ask_until(end, client)));
        let load = futures_util::future::join_all(load);
        let churn = async {
            let mut changes = 0;
            while Instant::now() < end {
                let name = format!("churn-{}", changes * 7 % SANDBOXES);
                let on = json!({"routes": format!("pricing: {}", target(changes * 7 % SANDBOXES))});
                match changes % 3 {
                    0 | 1 => fixture.apply(&sandbox(&name, on)).await?,
                    _ => drop(fixture.delete(&name).await),
                }
                changes += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            anyhow::Ok(changes)
        };
        let (changes, answers) = tokio::join!(churn, load);
        let changes = changes?;
        let mut total = [0, 0];
        for answer in answers {
            let seen = answer??;
            total = [total[0] + seen[0], total[1] + seen[1]];
        }
        let [sandboxed, baseline] = total;
        println!(
            "{changes} changes, {sandboxed} requests by sandboxes, {baseline} by the baseline"
        );
        anyhow::ensure!(sandboxed > 100 && baseline > 100, "no churn was seen");
        Ok(())
    })
}

/// Asks with the keys of all sandboxes in turn; each answer is its sandbox's or the baseline's. Gives
/// how many of each there were.
async fn ask_until(end: Instant, client: usize) -> anyhow::Result<[usize; 2]> {
    let mut seen = [0, 0];
    for number in (client * 5).. {
        let number = number % SANDBOXES;
        let baggage = format!("sandbox=churn-{number}");
        let answer = from("frontend", "pricing.shop", &[("baggage", &baggage)]).await?;
        match answer.as_str() {
            "pricing" => seen[1] += 1,
            answer if answer == target(number) => seen[0] += 1,
            other => anyhow::bail!("`{baggage}` was answered by `{other}`"),
        }
        if Instant::now() > end {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(seen)
}

fn target(number: usize) -> &'static str {
    if number.is_multiple_of(2) { "pricing-pr-1" } else { "pricing-pr-2" }
}

#[test]
fn five_thousand_sandboxes_reach_the_sidecars() -> anyhow::Result<()> {
    on_mesh(PluginKind::TrafficExtension, async |fixture: &mut Fixture, mesh: &mut Mesh| {
        let agent = mesh.agent("frontend");
        let before = agent.envoy_resident_kib()?;
        let numbers: Vec<_> = (0..5_000).collect();
        for some in numbers.chunks(50) {
            let some = some.iter().map(async |number| {
                let routes = json!({"routes": format!("pricing: {}", target(*number))});
                fixture.apply(&sandbox(&format!("pr-{number}"), routes)).await
            });
            futures_util::future::try_join_all(some).await?;
        }
        let has = async |number: usize| {
            let baggage = format!("sandbox=pr-{number}");
            from("frontend", "pricing.shop", &[("baggage", &baggage)]).await
        };
        fixture
            .until("the last of 5,000", async |_| Ok(has(4_999).await? == target(4_999)))
            .await?;
        let begun = Instant::now();
        fixture.apply(&sandbox("pr-5000", json!({"routes": "pricing: pricing-pr-1"}))).await?;
        fixture.until("one more", async |_| Ok(has(5_000).await? == "pricing-pr-1")).await?;
        let took = begun.elapsed();
        let plugin = fixture.plugin().await?.map(|plugin| plugin.data.to_string().len());
        println!(
            "5,000 sandboxes: {} KB to each sidecar, one more takes {took:?}, Envoy grew by {} KB",
            plugin.unwrap_or_default() / 1_000,
            agent.envoy_resident_kib()?.saturating_sub(before)
        );
        Ok(())
    })
}

/// No test: `cargo suite --keep` runs it for people.
#[test]
#[ignore = "it ends with Ctrl-C only"]
fn the_shop_stays_open() -> anyhow::Result<()> {
    on_mesh(PluginKind::TrafficExtension, async |fixture: &mut Fixture, _mesh: &mut Mesh| {
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        let routed =
            async |_: &Fixture| Ok(enter("/", &[KEY]).await? == "frontend > cart-pr-1 > pricing");
        fixture.until("a sandbox", routed).await?;
        let kubeconfig = fixture.cluster.kubeconfig(fixture.cluster.admin_token())?;
        println!(
            "\nThe shop stays open until Ctrl-C. In another terminal:\n  \
             nsenter --target {} --user --net --preserve-credentials\n  export KUBECONFIG={}\n  \
             curl -s -H 'Host: shop.example.com' -H 'baggage: {}' http://127.0.0.1:8080/\n  \
             {} status\nlogs are in {}",
            std::process::id(),
            kubeconfig.display(),
            KEY.1,
            skycap_tests::cluster::program().display(),
            fixture.cluster.folder().display()
        );
        Ok(tokio::signal::ctrl_c().await?)
    })
}

const KEY: (&str, &str) = ("baggage", "sandbox=pr-1");
const SANDBOXES: usize = 20;
