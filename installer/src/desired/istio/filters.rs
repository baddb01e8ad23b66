//! skycap's EnvoyFilters (the dispatch route, the removal of the regular plugin from a canary's
//! workloads, the access log) and the Telemetry that tags spans.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use skycap_core::dispatch::CLUSTER_HEADER;

use super::{ENVOY_FILTER, IstioMesh};
use crate::{
    names::{ACCESS_LOG, CANARY, DISPATCH_ROUTE, SPANS},
    objects::{Object, object},
};

impl IstioMesh {
    /// The dispatch route, first in every virtual host of sidecars and gateways (istio: pilot's
    /// `INSERT_FIRST` of an `HTTP_ROUTE`).
    ///
    /// Envoy removes a client's own dispatch header before it selects a route
    /// (`internal_only_headers` in route.proto). It does so for external clients; since 1.33, all
    /// clients are external by default. Therefore, a forged header routes nothing even where the
    /// module could not be loaded.
    pub(super) fn dispatch_route(&self) -> anyhow::Result<Object> {
        let header_removal = |context: &str| {
            json!({
                "applyTo": "ROUTE_CONFIGURATION",
                "match": {"context": context},
                "patch": {"operation": "MERGE", "value": {"internal_only_headers": [CLUSTER_HEADER]}},
            })
        };
        let route = |context: &str| {
            json!({
                "applyTo": "HTTP_ROUTE",
                "match": {"context": context},
                "patch": {"operation": "INSERT_FIRST", "value": dispatch_route()},
            })
        };
        let patches = CONTEXTS.map(header_removal).into_iter().chain(CONTEXTS.map(route)).collect();
        Object::new(self.envoy_filter(DISPATCH_ROUTE, None, patches))
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
        let connection_manager = json!({
            "name": CONNECTION_MANAGER,
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "access_log": [logger],
            },
        });
        let patches = CONTEXTS.map(|context| {
            let chain = json!({"filter": {"name": CONNECTION_MANAGER}});
            json!({
                "applyTo": "NETWORK_FILTER",
                "match": {"context": context, "listener": {"filterChain": chain}},
                "patch": {"operation": "MERGE", "value": connection_manager},
            })
        });
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
        let filters = self.plugin.filter_names(&self.plugin_name());
        let patches = CONTEXTS
            .iter()
            .flat_map(|context| filters.iter().map(|filter| patch(context, filter)))
            .collect();
        Object::new(self.envoy_filter(CANARY, Some(selector), patches))
    }

    /// An EnvoyFilter in the root namespace, for all workloads or for those with these labels.
    fn envoy_filter(
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

/// The route that sends a request to the cluster that its dispatch header names.
#[must_use]
pub fn dispatch_route() -> Value {
    json!({
        "name": "skycap",
        "match": {
            "prefix": "/",
            "headers": [{"name": CLUSTER_HEADER, "present_match": true}],
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
const CONTEXTS: [&str; 2] = ["SIDECAR_OUTBOUND", "GATEWAY"];
const CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";
