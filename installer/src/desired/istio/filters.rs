//! skycap's EnvoyFilters (the dispatch route, the removal of the regular plugin from a canary's
//! workloads, the access log) and the Telemetry that tags spans.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use skycap_core::{
    config::{ClusterDomain, Dispatch},
    dispatch::CLUSTER_HEADER,
};

use super::{ENVOY_FILTER, IstioMesh};
use crate::{
    names::{ACCESS_LOG, CANARY, DISPATCH_ROUTE, SPANS},
    objects::{Object, object},
};

impl IstioMesh {
    /// What a dispatch needs in Envoy; `None` for dispatch `authority`, which needs nothing.
    ///
    /// Envoy removes a dispatch header that comes from outside before it selects a route
    /// (`early_header_mutation_extensions` of the connection manager; Envoy 1.25, so every Istio that
    /// [`preflight`](crate::observed::preflight) accepts). So a client's header routes nothing, also
    /// while the module is absent, has trapped or was rejected. `internal_only_headers` of a route
    /// configuration would remove it only from clients that Envoy regards as external.
    ///
    /// For dispatch `cluster-header`, the dispatch route is the first one in every virtual host of
    /// sidecars and gateways (istio: pilot's `INSERT_FIRST` of an `HTTP_ROUTE`).
    pub(super) fn dispatch_filter(
        &self,
        dispatch: Dispatch,
        domain: &ClusterDomain,
    ) -> anyhow::Result<Option<Object>> {
        let Some(header) = dispatch.owned_header() else { return Ok(None) };
        let mut patches: Vec<_> = CONTEXTS
            .iter()
            .map(|context| patch_connection_manager(context, &early_removal(header)))
            .collect();
        if dispatch == Dispatch::ClusterHeader {
            patches.extend(CONTEXTS.iter().map(|context| {
                let route = dispatch_route(domain);
                json!({
                    "applyTo": "HTTP_ROUTE",
                    "match": {"context": context},
                    "patch": {"operation": "INSERT_FIRST", "value": route},
                })
            }));
        }
        Object::new(self.envoy_filter(DISPATCH_ROUTE, None, patches)).map(Some)
    }

    /// An additional access log for requests that have baggage.
    ///
    /// A line holds the baggage, which shows the routing key, and the upstream cluster, which is
    /// the sandbox's or the baseline's. It is an EnvoyFilter because Istio's Telemetry needs a log
    /// provider in Istio's mesh configuration, which skycap does not edit.
    #[must_use]
    pub fn access_log(&self) -> Value {
        let line = json!({
            "time": "%START_TIME%",
            "method": "%REQ(:METHOD)%",
            "authority": "%REQ(:AUTHORITY)%",
            "status": "%RESPONSE_CODE%",
            "flags": "%RESPONSE_FLAGS%",
            "milliseconds": "%DURATION%",
            "route": "%ROUTE_NAME%",
            "cluster": "%UPSTREAM_CLUSTER_RAW%",
            "baggage": "%REQ(BAGGAGE)%",
            "traceparent": "%REQ(TRACEPARENT)%",
        });
        let logger = json!({
            "name": "envoy.access_loggers.file",
            "filter": {"header_filter": {"header": {"name": "baggage", "present_match": true}}},
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": "/dev/stdout",
                "log_format": {"json_format": line},
            },
        });
        let log = json!({"access_log": [logger]});
        let patches = CONTEXTS.map(|context| patch_connection_manager(context, &log));
        self.envoy_filter(ACCESS_LOG, None, patches.into())
    }

    /// A Telemetry that adds a request's baggage, and so its routing key, to its spans as a tag.
    #[must_use]
    pub fn span_tag(&self) -> Value {
        let tags = json!({"baggage": {"header": {"name": "baggage"}}});
        let spec = json!({"spec": {"tracing": [{"customTags": tags}]}});
        let namespace = Some(self.root_namespace.as_str());
        object("telemetry.istio.io/v1", "Telemetry", namespace, SPANS, spec)
    }

    /// The EnvoyFilter that removes the regular plugin from the canary's workloads. Istio chains
    /// all plugins of a workload instead of replacing one by another, and a plugin's selector
    /// cannot exclude workloads.
    pub(super) fn plugin_removal(
        &self,
        selector: &BTreeMap<String, String>,
    ) -> anyhow::Result<Object> {
        let patch = |context: &str, filter: &str| {
            let chain =
                json!({"filter": {"name": CONNECTION_MANAGER, "subFilter": {"name": filter}}});
            json!({
                "applyTo": "HTTP_FILTER",
                "match": {"context": context, "listener": {"filterChain": chain}},
                "patch": {"operation": "REMOVE"},
            })
        };
        let filters = self.filter_names();
        let patches = CONTEXTS
            .iter()
            .flat_map(|context| filters.iter().map(|filter| patch(context, filter)))
            .collect();
        Object::new(self.envoy_filter(CANARY, Some(selector), patches))
    }

    /// An EnvoyFilter in the root namespace, for all workloads or for those with these labels.
    pub(super) fn envoy_filter(
        &self,
        name: &str,
        selector: Option<&BTreeMap<String, String>>,
        patches: Vec<Value>,
    ) -> Value {
        let mut spec = json!({"configPatches": patches});
        if let Some(labels) = selector {
            spec["workloadSelector"] = json!({"labels": labels});
        }
        let (api_version, kind) = ENVOY_FILTER;
        let namespace = Some(self.root_namespace.as_str());
        object(api_version, kind, namespace, name, json!({"spec": spec}))
    }
}

/// A patch that merges fields into Envoy's HTTP connection manager.
#[must_use]
pub fn patch_connection_manager(context: &str, fields: &Value) -> Value {
    let mut config = fields.clone();
    config["@type"] = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager".into();
    json!({
        "applyTo": "NETWORK_FILTER",
        "match": {
            "context": context,
            "listener": {"filterChain": {"filter": {"name": CONNECTION_MANAGER}}},
        },
        "patch": {
            "operation": "MERGE",
            "value": {"name": CONNECTION_MANAGER, "typed_config": config},
        },
    })
}

/// The field of a connection manager by which Envoy removes a header before it selects a route.
#[must_use]
pub fn early_removal(header: &str) -> Value {
    json!({"early_header_mutation_extensions": [{
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": [{"remove": header}],
        },
    }]})
}

/// The form of the clusters that the dispatch route accepts: a port of a Service, without a subset.
/// Envoy has more clusters, such as its own admin interface (`prometheus_stats`) and istiod
/// (`xds-grpc`).
fn service_cluster(domain: &ClusterDomain) -> String {
    let domain = domain.as_str().replace('.', "\\.");
    format!("outbound\\|[0-9]+\\|\\|[a-z0-9-]+\\.[a-z0-9-]+\\.svc\\.{domain}")
}

/// The route that sends a request to the cluster that its dispatch header names.
#[must_use]
pub fn dispatch_route(domain: &ClusterDomain) -> Value {
    json!({
        "name": "skycap",
        "match": {
            "prefix": "/",
            "headers": [{
                "name": CLUSTER_HEADER,
                "string_match": {"safe_regex": {"regex": service_cluster(domain)}},
            }],
        },
        "route": {
            "cluster_header": CLUSTER_HEADER,
            "timeout": "0s",
            // Istio's default for HTTP (istio: pilot/pkg/networking/core/route/retry
            // `DefaultPolicy`).
            "retry_policy": {
                "num_retries": 2,
                "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
                "retry_host_predicate": [{
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
                    },
                }],
                "host_selection_retry_max_attempts": 5,
            },
        },
        "request_headers_to_remove": [CLUSTER_HEADER],
    })
}

/// Outbound requests of sidecars, and requests through gateways.
pub const CONTEXTS: [&str; 2] = ["SIDECAR_OUTBOUND", "GATEWAY"];
pub(super) const CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";
