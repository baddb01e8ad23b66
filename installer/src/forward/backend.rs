//! The Pods behind a Service's port, and a connection to one of them.

mod endpoints;
mod replacement;

use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client,
    api::{ListParams, Portforwarder},
};
use tokio::io::DuplexStream;

use self::endpoints::{PodPort, pods, port_name};
pub use self::replacement::Replacements;
use super::upstream::{Connect, Connection};
use crate::{diagnose::request::ServicePort, forward::member::Member, observed::causes::causes};

/// A port of a Service, and where its Pods are found.
#[derive(Debug, Clone)]
pub struct Backend {
    service: ServicePort,
    services: Api<Service>,
    slices: Api<EndpointSlice>,
    pods: Api<Pod>,
}

impl Backend {
    /// The Service to which a request for `asked` goes with this key: the one that replaces it, or else
    /// itself.
    ///
    /// # Errors
    /// The filter would reject the table.
    pub fn of(
        client: &Client,
        asked: ServicePort,
        member: &Member,
        replacements: &Replacements,
    ) -> anyhow::Result<Self> {
        let service = replacements.of(&asked, member)?.unwrap_or(asked);
        let namespace = service.namespace.as_str();
        Ok(Self {
            services: Api::namespaced(client.clone(), namespace),
            slices: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client.clone(), namespace),
            service,
        })
    }

    /// The Service.
    #[must_use]
    pub const fn service(&self) -> &ServicePort {
        &self.service
    }

    /// Checks that a Pod is ready.
    pub(super) async fn check(&self) -> anyhow::Result<()> {
        self.ready_pods().await.map(drop)
    }

    /// The ready Pods, in the order of their names; at least one.
    async fn ready_pods(&self) -> anyhow::Result<Vec<PodPort>> {
        let Self { service, .. } = self;
        let found = read_service(&self.services, service).await?;
        let ports = found.spec.and_then(|spec| spec.ports).unwrap_or_default();
        let name = port_name(service, &ports)?;
        let of_service = format!("kubernetes.io/service-name={}", service.name);
        let slices = self.slices.list(&ListParams::default().labels(&of_service)).await;
        let slices =
            slices.with_context(|| format!("cannot list the EndpointSlices of {service}"))?;
        let pods = pods(&slices.items, name);
        anyhow::ensure!(
            !pods.is_empty(),
            "no Pod of {service} is ready; see `kubectl -n {} get pods`",
            service.namespace
        );
        Ok(pods)
    }
}

/// Checks that the Service of each port is there.
///
/// # Errors
/// The first that is not, or the API server's error.
pub async fn check_services(client: &Client, ports: &[ServicePort]) -> anyhow::Result<()> {
    for port in ports {
        read_service(&Api::namespaced(client.clone(), &port.namespace), port).await?;
    }
    Ok(())
}

async fn read_service(services: &Api<Service>, service: &ServicePort) -> anyhow::Result<Service> {
    let found = services.get_opt(&service.name).await;
    let found = found.with_context(|| format!("cannot read Service {service}"))?;
    found.with_context(|| {
        let namespace = &service.namespace;
        format!("there is no Service {service}; see `kubectl -n {namespace} get services`")
    })
}

impl Connect for Backend {
    /// Connects to a ready Pod, to another one if that fails. All connections go to the same Pod as long
    /// as it is ready, so that a test sees one state.
    async fn connect(&self) -> anyhow::Result<Connection> {
        let mut failure = None;
        for PodPort { pod, port } in self.ready_pods().await? {
            let peer = format!("{pod}:{port}");
            let forwarded = self.pods.portforward(&pod, &[port]).await;
            match forwarded {
                Ok(forwarder) => {
                    if let Some((stream, failure)) = take(forwarder, port) {
                        return Ok(Connection { stream, peer, failure });
                    }
                }
                Err(error) => failure = Some((peer, error)),
            }
        }
        let Self { service, .. } = self;
        let Some((peer, error)) = failure else { anyhow::bail!("no Pod of {service} is ready") };
        anyhow::bail!("cannot forward to Pod {peer} of {service}: {}", causes(&error))
    }
}

/// The stream of the forwarded port, and what the kubelet reports about it later.
fn take(mut forwarder: Portforwarder, port: u16) -> Option<(DuplexStream, Arc<OnceLock<String>>)> {
    let (stream, error) = forwarder.take_stream(port).zip(forwarder.take_error(port))?;
    let failure = Arc::new(OnceLock::new());
    let reported = Arc::clone(&failure);
    tokio::spawn(async move {
        if let Some(message) = error.await {
            let _ = reported.set(message);
            // Else the stream stays open, and nobody answers.
            forwarder.abort();
        }
    });
    Some((stream, failure))
}
