//! A shop of three services that do not know skycap: frontend calls cart, and cart calls pricing.
//!
//! Each workload has an Envoy of its own for its calls. One more Envoy is the gateway, where requests
//! enter.

mod ask;
mod failure;
mod workload;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use anyhow::Context as _;
use hyper::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

pub use self::{
    ask::{Asked, ask},
    workload::Workload,
};
use crate::{
    client,
    envoy::{Bootstrap, Envoy, bootstrap::Service},
};

/// A running shop. It closes when it is dropped.
#[derive(Debug)]
pub struct Shop {
    servers: Vec<Workload>,
    /// The gateway first, then the sidecar of each workload.
    envoys: Vec<Envoy>,
}

/// The response of the shop.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Visit {
    /// The workloads on the path of the request, in order.
    pub path: Vec<String>,
    /// The Host that each of them received.
    pub hosts: Vec<String>,
    /// The `x-skycap-sandbox` header that each of them received; empty if there was none.
    pub keys: Vec<String>,
    /// The lines of `baggage`, `tracestate` and `x-tenant` that each of them received, one per text.
    pub carriers: Vec<String>,
}

impl Shop {
    /// Starts a shop with these workloads. A workload's role is the part before the first `-`:
    /// `cart-pr-1` is a cart.
    ///
    /// # Errors
    /// If no port is free, or if an Envoy does not start.
    pub async fn open(
        workloads: &[&str],
        envoy: &Path,
        module: &Path,
        plugin_config: &str,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let mut servers = Vec::new();
        for name in workloads {
            servers.push(Workload::start(name, Ipv4Addr::LOCALHOST.into()).await?);
        }
        let services: Vec<_> = servers.iter().map(service_of).collect();
        let sidecars = ["gateway"].iter().chain(workloads).map(|name| {
            let bootstrap = Bootstrap {
                node: format!("{name}.shop"),
                module: Some(module.into()),
                services: services.clone(),
                workers: 1,
                dispatch_route: true,
            };
            let folder = folder.join(name);
            async move { Envoy::start(envoy, bootstrap, plugin_config, &folder).await }
        });
        let mut envoys = Vec::new();
        for envoy in futures_util::future::join_all(sidecars).await {
            envoys.push(envoy?);
        }
        for (server, envoy) in servers.iter().zip(envoys.iter().skip(1)) {
            server.set_sidecar(envoy.process.listener(PORT_NAME)?);
        }
        Ok(Self { servers, envoys })
    }

    /// The address of the gateway.
    ///
    /// # Errors
    /// If the gateway has no listener.
    pub fn gateway(&self) -> anyhow::Result<SocketAddr> {
        self.envoys.first().context("the shop has no gateway")?.process.listener(PORT_NAME)
    }

    /// Sends a request to the frontend, through the gateway.
    ///
    /// # Errors
    /// If there is no response with status 200.
    pub async fn visit(&self, headers: &HeaderMap) -> anyhow::Result<(Visit, HeaderMap)> {
        visit(self.gateway()?, headers).await
    }

    /// Pushes a table to every Envoy, and waits until all of them have accepted it.
    ///
    /// # Errors
    /// If one rejects it.
    pub async fn push(&mut self, plugin_config: &str) -> anyhow::Result<()> {
        let pushes = self.envoys.iter_mut().map(|envoy| envoy.push(plugin_config));
        for taken in futures_util::future::join_all(pushes).await {
            anyhow::ensure!(taken?, "an Envoy rejected the table: {plugin_config}");
        }
        Ok(())
    }

    /// The workloads as Services with port 80.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        self.servers.iter().map(service_of).collect()
    }

    /// The number of workloads.
    #[must_use]
    pub fn workloads(&self) -> usize {
        self.servers.len()
    }
}

/// Sends a request to the frontend, through the gateway at `address`.
///
/// # Errors
/// If there is no response with status 200.
pub async fn visit(address: SocketAddr, headers: &HeaderMap) -> anyhow::Result<(Visit, HeaderMap)> {
    let answer = client::send(address, "frontend.shop", headers).await?;
    anyhow::ensure!(answer.status == StatusCode::OK, "{}: {}", answer.status, answer.body);
    Ok((serde_json::from_str(&answer.body)?, answer.headers))
}

fn service_of(workload: &Workload) -> Service {
    Service { name: workload.name.clone(), port: 80, endpoint: workload.address, http2: false }
}

/// The name of the listener for port 80: listeners are named by their port.
const PORT_NAME: &str = "80";
