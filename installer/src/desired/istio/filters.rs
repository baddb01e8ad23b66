//! skycap's EnvoyFilters: the dispatch route, what takes the everyday plugin out of a canary's
//! workloads, and what shows the baggage of requests: the access log, and the tag of spans.

use crate::names::{ACCESS_LOG, SPANS};
use std::collections::BTreeMap;

use serde_json::{Value, json};
use skycap_core::dispatch::CLUSTER_HEADER;

use super::{ENVOY_FILTER, IstioMesh};
use crate::{
    names::{CANARY, DISPATCH_ROUTE},
    objects::{Object, object},
};

impl IstioMesh {
    /// The dispatch route, first in every virtual host of sidecars and gateways (istio: pilot's
    /// `INSERT_FIRST` of an `HTTP_ROUTE`). Its retries are Istio's default ones.
    ///
    /// Envoy takes a client's own dispatch header away before it picks a route (`internal_only_headers`
    /// of route.proto), from clients that it does not take for its own: all of them since 1.33. So it
    /// routes nothing also where the filter could not be loaded.
    pub(super) fn dispatch_route(&self) -> anyhow::Result<Object> {
        let patch = |context: &str| {
            json!({
                "applyTo": "HTTP_ROUTE",
                "match": {"context": context},
                "patch": {"operation": "INSERT_FIRST", "value": dispatch_route()},
            })
        };
        let own = |context: &str| {
            json!({
                "applyTo": "ROUTE_CONFIGURATION",
                "match": {"context": context},
                "patch": {"operation": "MERGE", "value": {"internal_only_headers": [CLUSTER_HEADER]}},
            })
        };
        let patches: Vec<_> = CONTEXTS.map(own).into_iter().chain(CONTEXTS.map(patch)).collect();
        let spec = json!({"spec": {"configPatches": patches}});
        let namespace = Some(self.root_namespace.as_str());
        Object::new(object(ENVOY_FILTER.0, ENVOY_FILTER.1, namespace, DISPATCH_ROUTE, spec))
    }

    /// One more access log for requests with baggage: with the baggage, by which the key is known, and
    /// the cluster, which is the sandbox's or the baseline's. It wants no change of Istio's mesh
    /// configuration, where Istio's own Telemetry would have its provider.
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
        let manager = json!({
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
                "patch": {"operation": "MERGE", "value": manager},
            })
        });
        let spec = json!({"spec": {"configPatches": patches}});
        let namespace = Some(self.root_namespace.as_str());
        object(ENVOY_FILTER.0, ENVOY_FILTER.1, namespace, ACCESS_LOG, spec)
    }

    /// A Telemetry by which a request's baggage, and with it its key, is a tag of its spans.
    #[must_use]
    pub fn span_tag(&self) -> Value {
        let tags = json!({"baggage": {"header": {"name": "baggage"}}});
        let spec = json!({"spec": {"tracing": [{"customTags": tags}]}});
        let namespace = Some(self.root_namespace.as_str());
        object("telemetry.istio.io/v1", "Telemetry", namespace, SPANS, spec)
    }

    /// Takes the everyday plugin out of the canary's workloads. Plugins are chained and never
    /// replace each other, and their selectors cannot say "all but these".
    pub(super) fn aside(&self, selector: &BTreeMap<String, String>) -> anyhow::Result<Object> {
        let patch = |context: &str, filter: &str| {
            let chain =
                json!({"filter": {"name": CONNECTION_MANAGER, "subFilter": {"name": filter}}});
            json!({
                "applyTo": "HTTP_FILTER",
                "match": {"context": context, "listener": {"filterChain": chain}},
                "patch": {"operation": "REMOVE"},
            })
        };
        let filters = self.plugin.filters(&self.plugin_name());
        let patches: Vec<_> = CONTEXTS
            .iter()
            .flat_map(|context| filters.iter().map(|filter| patch(context, filter)))
            .collect();
        let spec =
            json!({"spec": {"workloadSelector": {"labels": selector}, "configPatches": patches}});
        let namespace = Some(self.root_namespace.as_str());
        Object::new(object(ENVOY_FILTER.0, ENVOY_FILTER.1, namespace, CANARY, spec))
    }
}

/// The route that takes a request to the cluster that its dispatch header names.
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
            // Istio's default for HTTP (istio: pilot/pkg/networking/core/route/retry `DefaultPolicy`).
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

/// Sidecars' calls, and gateways'.
const CONTEXTS: [&str; 2] = ["SIDECAR_OUTBOUND", "GATEWAY"];
const CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";
