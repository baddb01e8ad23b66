//! The demo's shop on Istio's own programs: istiod, an agent with an Envoy for each service, and an
//! ingress gateway.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use serde_json::{Value, json};
use skycap::{desired::istio::PluginKind, table::meshes::Meshes};
use skycap_tests::{
    client,
    cluster::{Agent, Controller, Pod, local_address},
    envoy, module,
    shop::{Visit, Workload},
};

use super::{Fixture, run_on, service};

/// The shop, until it is dropped.
pub(crate) struct Mesh {
    pub(crate) workloads: Vec<Workload>,
    /// By workload, the gateway's among them.
    pub(crate) agents: BTreeMap<String, Agent>,
    pub(crate) controller: Option<Controller>,
}

/// A shop with the sandboxes' workloads, behind a controller and istiod; each service has an agent.
pub(crate) fn on_mesh(
    plugin: PluginKind,
    test: impl AsyncFnOnce(&mut Fixture, &mut Mesh) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    run_on(&Meshes::default(), plugin, async |fixture: &mut Fixture| {
        let module = module::build()?;
        fixture.cluster.module_url = format!("file://{}", module.display());
        let mut mesh = Mesh::open(fixture, &["frontend", "cart", "pricing", GATEWAY]).await?;
        test(fixture, &mut mesh).await
    })
}

impl Mesh {
    /// Starts istiod, the workloads, the controller, and these agents.
    pub(crate) async fn open(fixture: &mut Fixture, agents: &[&str]) -> anyhow::Result<Self> {
        let controller = Some(Controller::start(&fixture.cluster, "one", &[]).await?);
        let mesh = Self::without_skycap(fixture, agents).await?;
        Ok(Self { controller, ..mesh })
    }

    /// Starts istiod, the workloads, and these agents.
    pub(crate) async fn without_skycap(
        fixture: &mut Fixture,
        agents: &[&str],
    ) -> anyhow::Result<Self> {
        fixture.cluster.start_istiod().await?;
        let workloads = open_shop(fixture).await?;
        let mut mesh = Self { workloads, agents: BTreeMap::new(), controller: None };
        let envoy = envoy::obtain()?;
        let pods: Vec<_> = agents.iter().map(|name| pod(name)).collect();
        let agents = pods.iter().map(|pod| fixture.cluster.agent(&envoy, pod));
        let agents = futures_util::future::join_all(agents).await;
        for (pod, agent) in pods.iter().zip(agents) {
            mesh.agents.insert(pod.workload.clone(), agent?);
        }
        Ok(mesh)
    }

    pub(crate) fn agent(&self, workload: &str) -> &Agent {
        &self.agents[workload]
    }

    /// Stops an agent and its Envoy and starts them anew.
    pub(crate) async fn restart(
        &mut self,
        fixture: &Fixture,
        envoy: &Path,
        workload: &str,
    ) -> anyhow::Result<()> {
        self.agents.remove(workload);
        let agent = fixture.cluster.agent(envoy, &pod(workload)).await?;
        self.agents.insert(workload.into(), agent);
        Ok(())
    }
}

fn pod(workload: &str) -> Pod {
    if workload == GATEWAY { Pod::gateway() } else { Pod::sidecar(workload) }
}

/// The way of a request that comes in by the gateway: the workloads, with `>` between, or the status.
pub(crate) async fn enter(path: &str, headers: &[(&str, &str)]) -> anyhow::Result<String> {
    let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, GATEWAY_PORT));
    way(gateway, "shop.example.com", path, headers).await
}

/// The way of a request that this workload's sidecar sends to `host`.
pub(crate) async fn from(
    workload: &str,
    host: &str,
    headers: &[(&str, &str)],
) -> anyhow::Result<String> {
    way(SocketAddr::from((outbound(workload), 80)), host, "/", headers).await
}

/// The way of a request to `host` that is sent to this address.
pub(crate) async fn way(
    address: SocketAddr,
    host: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> anyhow::Result<String> {
    let answer = client::send_to(address, host, path, &header_map(headers)?).await?;
    if answer.status != 200 {
        return Ok(format!("{} {}", answer.status.as_u16(), answer.body));
    }
    let visit: Visit = serde_json::from_str(&answer.body)?;
    Ok(visit.path.join(" > "))
}

pub(crate) fn header_map(headers: &[(&str, &str)]) -> anyhow::Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::try_from(*name)?, HeaderValue::try_from(*value)?);
    }
    Ok(map)
}

/// Where the sidecar of a workload of this role listens.
pub(crate) fn outbound(workload: &str) -> Ipv4Addr {
    let role = workload.split('-').next().unwrap_or_default();
    let found = ROLES.iter().find(|(name, _)| *name == role);
    found.map_or(Ipv4Addr::LOCALHOST, |(_, address)| *address)
}

async fn open_shop(fixture: &Fixture) -> anyhow::Result<Vec<Workload>> {
    let mut workloads = Vec::new();
    for name in WORKLOADS {
        let workload = Workload::start(name, local_address()?).await?;
        // A sandbox's calls take the sidecar of its service: their configuration is the same.
        workload.set_sidecar(SocketAddr::from((outbound(name), 80)));
        fixture.apply(&service(name)).await?;
        fixture.apply(&super::shop::endpoints(name, workload.address.port(), true)?).await?;
        workloads.push(workload);
    }
    for (role, address) in ROLES {
        let pod = Pod::sidecar(role);
        fixture.apply(&pod.outbound(address, &Value::Null)).await?;
    }
    for object in gateway() {
        fixture.apply(&object).await?;
    }
    Ok(workloads)
}

/// The entry: `shop.example.com` leads to the frontend, and there `/cart` to the cart.
fn gateway() -> [Value; 2] {
    let gateway = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "entry", "namespace": "shop"},
        "spec": {
            "selector": {"istio": "ingressgateway"},
            "servers": [{"port": {"number": GATEWAY_PORT, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}],
        },
    });
    let to = |service: &str| json!([{"destination": {"host": service, "port": {"number": 80}}}]);
    let routes = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "entry", "namespace": "shop"},
        "spec": {
            "hosts": ["shop.example.com"],
            "gateways": ["entry"],
            "http": [
                {"match": [{"uri": {"prefix": "/cart"}}], "route": to("cart")},
                {"route": to("frontend")},
            ],
        },
    });
    [gateway, routes]
}

const GATEWAY: &str = "istio-ingressgateway";
const GATEWAY_PORT: u16 = 8_080;
const WORKLOADS: [&str; 8] = [
    "frontend",
    "cart",
    "pricing",
    "frontend-pr-1",
    "cart-pr-1",
    "cart-pr-2",
    "pricing-pr-1",
    "pricing-pr-2",
];
/// The services, and where their sidecars' outbound listeners are.
const ROLES: [(&str, Ipv4Addr); 3] = [
    ("frontend", Ipv4Addr::new(127, 0, 1, 1)),
    ("cart", Ipv4Addr::new(127, 0, 1, 2)),
    ("pricing", Ipv4Addr::new(127, 0, 1, 3)),
];
