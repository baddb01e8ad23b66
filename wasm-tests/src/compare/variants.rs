//! The variants: ways to route a request by its key, and what Envoy costs without that.

mod alternatives;
mod config;
mod worst;

use std::{fs, path::Path};

use http_body_util::Empty;
use hyper::{Request, body::Bytes};
use serde_json::{Value, json};
use skycap_core::dispatch::CLUSTER_HEADER;

use self::{
    alternatives::{lua_variants, matcher_variant, route_variants},
    config::{CLUSTER, direct, hosts, ok, wasm},
    worst::worst_variants,
};
use crate::module;

/// One line of the comparison.
#[derive(Debug, Clone)]
pub(super) struct Variant {
    pub(super) name: String,
    /// The Envoy that it runs on. Variants with the same name share one.
    pub(super) envoy: String,
    filter: Option<Value>,
    virtual_hosts: Value,
    matcher: Option<Value>,
    path: &'static str,
    headers: Vec<(&'static str, String)>,
}

impl Variant {
    pub(super) fn request(&self) -> anyhow::Result<Request<Empty<Bytes>>> {
        let mut request = Request::get(format!("http://cart.shop{}", self.path));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        Ok(request.body(Empty::new())?)
    }

    /// The whole configuration of the Envoy that this variant runs on.
    pub(super) fn bootstrap(&self) -> Value {
        let router = json!({
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        });
        let filters: Vec<_> = self.filter.iter().cloned().chain([router]).collect();
        let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
        let mut route_config = json!({"name": "routes", "virtual_hosts": self.virtual_hosts});
        if let Some(matcher) = &self.matcher {
            route_config["virtual_hosts"][0]["matcher"] = matcher.clone();
        }
        json!({
            "admin": {"address": address},
            "static_resources": {
                "listeners": [{
                    "name": "listener",
                    "address": address,
                    "filter_chains": [{"filters": [{
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                            "stat_prefix": "compare",
                            "route_config": route_config,
                            "http_filters": filters,
                        },
                    }]}],
                }],
                "clusters": [{"name": CLUSTER, "type": "STATIC"}],
            },
        })
    }
}

/// All variants. Builds their modules; the one from text is written into `folder`.
pub(super) fn all(folder: &Path) -> anyhow::Result<Vec<Variant>> {
    let null_sdk = module::build_null_sdk()?;
    let skycap = module::build()?;
    let null_raw = folder.join("null-raw.wasm");
    fs::write(&null_raw, wat::parse_str(NULL_RAW)?)?;
    let plain = |name: &str, envoy: &str, filter: Option<Value>| Variant {
        name: name.into(),
        envoy: envoy.into(),
        filter,
        virtual_hosts: hosts(None, vec![direct("/direct")]),
        matcher: None,
        path: "/direct",
        headers: Vec::new(),
    };
    let foreign = vec![("baggage", foreign_baggage())];
    let with = |variant: Variant, what: &str, headers: Vec<(&'static str, String)>| Variant {
        name: format!("{}, {what}", variant.name),
        headers,
        ..variant
    };
    let none = plain("no filter", "none", None);
    let sdk = plain(REFERENCE, "null-sdk", Some(wasm(&null_sdk, "")));
    let mut variants = vec![
        none.clone(),
        with(none, "foreign baggage", foreign.clone()),
        plain("null filter, raw ABI", "null-raw", Some(wasm(&null_raw, ""))),
        sdk.clone(),
        with(sdk, "foreign baggage", foreign),
    ];
    for rows in [10, 1_000, 10_000, 100_000] {
        variants.extend(skycap_variants(&skycap, rows));
    }
    for rows in [10, 1_000] {
        variants.extend(lua_variants(rows));
        variants.extend(route_variants(rows));
    }
    variants.push(matcher_variant(1_000));
    variants.extend(worst_variants(&skycap));
    Ok(variants)
}

fn skycap_variants(module: &Path, rows: usize) -> Vec<Variant> {
    let key = format!("sandbox=pr-{}", rows - 1);
    let variant = |what: &str, dispatch: &str, path, baggage: Option<&str>| {
        let by_cluster =
            json!({"prefix": "/", "headers": [{"name": CLUSTER_HEADER, "present_match": true}]});
        let dispatched = json!({"match": by_cluster, "direct_response": ok()});
        Variant {
            name: format!("skycap, {rows} rows, {what}"),
            envoy: format!("skycap-{dispatch}-{rows}"),
            filter: Some(wasm(module, &table(dispatch, rows))),
            virtual_hosts: hosts(Some(dispatched), vec![direct("/direct")]),
            matcher: None,
            path,
            headers: baggage.map(|baggage| ("baggage", baggage.to_owned())).into_iter().collect(),
        }
    };
    let ch = "cluster-header";
    vec![
        variant("no baggage", ch, "/direct", None),
        variant("foreign baggage", ch, "/direct", Some(&foreign_baggage())),
        variant("unknown key", ch, "/direct", Some("sandbox=nobody")),
        variant("routed by cluster-header", ch, "/", Some(&key)),
        variant("routed by authority", "authority", "/", Some(&key)),
    ]
}

/// A table in which every sandbox replaces the cart.
pub(super) fn table(dispatch: &str, rows: usize) -> String {
    let keys: Vec<_> = (0..rows).map(|row| format!("pr-{row}:0")).collect();
    format!(
        "{{\"version\":\"1.0\",\"dispatch\":\"{dispatch}\",\"routes\":[{{\"service\":\"cart.shop\",\
         \"to\":\"cart-{{key}}\"}}],\"keys\":\"{}\"}}",
        keys.join(" ")
    )
}

/// 400 bytes of baggage without a key: eight members.
pub(super) fn foreign_baggage() -> String {
    let members: Vec<_> = (0..8).map(|n| format!("member-number-{n}={}", "v".repeat(34))).collect();
    members.join(",")
}

/// The name of the variant that all ratios refer to.
pub(super) const REFERENCE: &str = "null filter, Rust SDK";
const NULL_RAW: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0)))"#;
