//! The bootstrap: the configuration that istiod sends to a sidecar, as far as it matters to skycap.
//!
//! - The names of clusters, virtual hosts and domains are istiod's (istio: pilot/pkg/model
//!   `BuildSubsetKey`, pilot/pkg/networking/core `generateVirtualHostDomains`).
//! - The dispatch route is the one that the EnvoyFilter of `skycap install` inserts first into each
//!   virtual host.
//! - The filter comes through ECDS, from a file instead of a stream.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use skycap_core::config::ClusterDomain;

use super::PLUGIN;

/// The configuration of one Envoy.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// The id of the node, such as `frontend.shop`.
    pub node: String,
    /// The module. `None` means an Envoy without the filter.
    pub module: Option<PathBuf>,
    /// The Services that this sidecar knows.
    pub services: Vec<Service>,
    /// The number of worker threads.
    pub workers: u32,
    /// Whether the dispatch route is the first one of each virtual host.
    pub dispatch_route: bool,
}

/// A Service, as a sidecar knows it.
#[derive(Debug, Clone)]
pub struct Service {
    /// The name. The namespace is [`NAMESPACE`].
    pub name: String,
    /// The port.
    pub port: u16,
    /// Its only endpoint.
    pub endpoint: SocketAddr,
    /// Whether Envoy uses HTTP/2 to the endpoint.
    pub http2: bool,
}

impl Service {
    /// `cart.shop.svc.cluster.local`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("{}.{NAMESPACE}.svc.cluster.local", self.name)
    }

    /// `outbound|80||cart.shop.svc.cluster.local`.
    #[must_use]
    pub fn cluster(&self) -> String {
        format!("outbound|{}||{}", self.port, self.host())
    }
}

impl Bootstrap {
    /// The bootstrap as JSON. It has one listener for each port of the Services, named by the port.
    pub(super) fn json(&self, extension_file: &Path) -> Value {
        let mut ports: Vec<u16> = self.services.iter().map(|service| service.port).collect();
        ports.sort_unstable();
        ports.dedup();
        let listeners: Vec<_> =
            ports.iter().map(|port| self.listener(*port, extension_file)).collect();
        let clusters: Vec<_> = self.services.iter().map(cluster).collect();
        json!({
            "admin": {"address": address(SocketAddr::from(([127, 0, 0, 1], 0)))},
            "stats_config": {"stats_tags": [tag("outcome"), tag("reason")]},
            "static_resources": {"listeners": listeners, "clusters": clusters},
        })
    }

    /// The filter as an ECDS resource, with the table in the form that istiod uses: JSON in a
    /// `StringValue`.
    pub(super) fn extension(&self, plugin_config: &str, version: u64) -> Value {
        let module = self.module.as_ref().map(|module| module.display().to_string());
        json!({
            "version_info": version.to_string(),
            "resources": [{
                "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
                "name": PLUGIN,
                "typed_config": {
                    "@type": WASM_TYPE,
                    "config": {
                        "name": PLUGIN,
                        "failure_policy": "FAIL_OPEN",
                        "vm_config": {
                            "runtime": "envoy.wasm.runtime.v8",
                            "code": {"local": {"filename": module}},
                        },
                        "configuration": {
                            "@type": "type.googleapis.com/google.protobuf.StringValue",
                            "value": plugin_config,
                        },
                    },
                },
            }],
        })
    }

    fn listener(&self, port: u16, extension_file: &Path) -> Value {
        let services = self.services.iter().filter(|service| service.port == port);
        let hosts: Vec<_> = services.map(|service| self.virtual_host(service)).collect();
        let router = json!({
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        });
        let plugin = json!({
            "name": PLUGIN,
            "config_discovery": {
                "config_source": {"path_config_source": {"path": extension_file}},
                "type_urls": [WASM_TYPE],
            },
        });
        let filters: Vec<_> = self.module.iter().map(|_| plugin.clone()).chain([router]).collect();
        json!({
            "name": port.to_string(),
            "address": address(SocketAddr::from(([127, 0, 0, 1], 0))),
            "filter_chains": [{"filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "stat_prefix": port.to_string(),
                    "codec_type": "AUTO",
                    "upgrade_configs": [{"upgrade_type": "websocket"}],
                    "route_config": {
                        "name": port.to_string(),
                        "ignore_port_in_host_matching": true,
                        "virtual_hosts": hosts,
                    },
                    "http_filters": filters,
                },
            }]}],
        })
    }

    fn virtual_host(&self, service: &Service) -> Value {
        let (name, host) = (&service.name, service.host());
        let default = json!({
            "name": "default",
            "match": {"prefix": "/"},
            "route": {"cluster": service.cluster(), "timeout": "0s"},
        });
        let routes: Vec<_> = self
            .dispatch_route
            .then(|| skycap::desired::istio::dispatch_route(&ClusterDomain::default()))
            .into_iter()
            .chain([default])
            .collect();
        json!({
            "name": format!("{host}:{}", service.port),
            "domains": [
                host,
                name,
                format!("{name}.{NAMESPACE}"),
                format!("{name}.{NAMESPACE}.svc"),
            ],
            "routes": routes,
        })
    }
}

fn cluster(service: &Service) -> Value {
    let protocol = if service.http2 {
        json!({"explicit_http_config": {"http2_protocol_options": {}}})
    } else {
        json!({"explicit_http_config": {"http_protocol_options": {}}})
    };
    let mut protocol = protocol;
    protocol["@type"] =
        json!("type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions");
    json!({
        "name": service.cluster(),
        "type": "STATIC",
        "connect_timeout": "5s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol,
        },
        "load_assignment": {
            "cluster_name": service.cluster(),
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(service.endpoint)}}]}],
        },
    })
}

/// A tag, as Istio's bootstrap defines one for each entry of `extraStatTags`.
fn tag(name: &str) -> Value {
    json!({"tag_name": name, "regex": format!(r"({name}=\.=(.*?);\.;)")})
}

fn address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip(), "port_value": address.port()}})
}

/// The namespace of all Services.
pub const NAMESPACE: &str = "shop";

const WASM_TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
