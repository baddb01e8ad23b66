//! The parts of Envoy's configuration that the variants share.

use std::path::Path;

use serde_json::{Value, json};

/// A Wasm filter as istiod configures it, but loaded from a file at the start.
pub(in crate::compare) fn wasm(module: &Path, configuration: &str) -> Value {
    json!({
        "name": "wasm",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "wasm",
                "vm_config": {
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": module}},
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": configuration,
                },
            },
        },
    })
}

/// The virtual hosts of every variant. A sidecar has them with and without skycap; only the dispatch
/// route is skycap's, so its cost counts.
pub(super) fn hosts(dispatch_route: Option<Value>, routes: Vec<Value>) -> Value {
    let baseline = json!({"match": {"prefix": "/"}, "route": {"cluster": CLUSTER}});
    let cart = dispatch_route.into_iter().chain(routes).chain([baseline]).collect();
    json!([virtual_host("cart.shop", cart), virtual_host("*", vec![direct("/")])])
}

fn virtual_host(domain: &str, routes: Vec<Value>) -> Value {
    let name = format!("{domain}.svc.cluster.local:80");
    json!({"name": name, "domains": [domain], "routes": routes})
}

pub(super) fn direct(prefix: &str) -> Value {
    json!({"match": {"prefix": prefix}, "direct_response": ok()})
}

/// The action of every route: 200, without an upstream.
pub(super) fn ok() -> Value {
    json!({"status": 200, "body": {"inline_string": "ok"}})
}

/// The cluster of the baseline.
pub(super) const CLUSTER: &str = "outbound|80||cart.shop.svc.cluster.local";
