//! The variants: ways to route a request by its key, and the cost of not doing it.

use std::{fs, path::Path};

use http_body_util::Empty;
use hyper::{Request, body::Bytes};
use serde_json::{Value, json};
use skycap_core::dispatch::CLUSTER_HEADER;

use crate::module;

/// One line of the comparison.
#[derive(Debug, Clone)]
pub(super) struct Variant {
    pub(super) name: String,
    /// The Envoy that it runs on: variants with one name share one.
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

/// All of them; modules are built and written into `folder`.
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

/// A table whose sandboxes all replace the cart.
pub(super) fn table(dispatch: &str, rows: usize) -> String {
    let keys: Vec<_> = (0..rows).map(|row| format!("pr-{row}:0")).collect();
    format!(
        "{{\"version\":\"1.0\",\"dispatch\":\"{dispatch}\",\"routes\":[{{\"service\":\"cart.shop\",\
         \"to\":\"cart-{{key}}\"}}],\"keys\":\"{}\"}}",
        keys.join(" ")
    )
}

/// Lua that does the same look-up: the member `sandbox` of baggage, a table of keys, the header.
fn lua_variants(rows: usize) -> Vec<Variant> {
    let keys: Vec<_> = (0..rows).map(|row| format!("[\"pr-{row}\"]=\"cart-pr-{row}\"")).collect();
    let code = format!(
        "local targets = {{{}}}\n\
         function envoy_on_request(handle)\n\
           local headers = handle:headers()\n\
           headers:remove(\"{CLUSTER_HEADER}\")\n\
           local baggage = headers:get(\"baggage\")\n\
           if baggage == nil then return end\n\
           for name, value in string.gmatch(baggage, \"%s*([^=,;%s]+)%s*=%s*([^,;%s]*)\") do\n\
             if name == \"sandbox\" and targets[value] then\n\
               headers:add(\"{CLUSTER_HEADER}\", \"outbound|80||\" .. targets[value] .. \".shop.svc.cluster.local\")\n\
             end\n\
           end\n\
         end",
        keys.join(",")
    );
    let filter = json!({
        "name": "lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": code},
        },
    });
    let variant = |what: &str, headers: Vec<(&'static str, String)>| Variant {
        name: format!("Lua, {rows} rows, {what}"),
        envoy: format!("lua-{rows}"),
        filter: Some(filter.clone()),
        virtual_hosts: hosts(None, vec![direct("/direct")]),
        matcher: None,
        path: "/direct",
        headers,
    };
    vec![
        variant("no baggage", Vec::new()),
        variant("routed", vec![("baggage", format!("sandbox=pr-{}", rows - 1))]),
    ]
}

/// What a VirtualService with a match for each sandbox compiles to; the last one is asked for.
fn route_variants(rows: usize) -> Vec<Variant> {
    let variant = |what: &str, header: &'static str, value: String, exact: bool| {
        let matches = |row: usize| {
            let string = if exact {
                json!({"exact": format!("pr-{row}")})
            } else {
                json!({"safe_regex": {"regex": format!(r"^(.*,)?\s*sandbox\s*=\s*pr-{row}\s*([,;].*)?$")}})
            };
            json!({
                "match": {"prefix": "/", "headers": [{"name": header, "string_match": string}]},
                "direct_response": ok(),
            })
        };
        let routes: Vec<_> = (0..rows).map(matches).chain([direct("/direct")]).collect();
        Variant {
            name: format!("routes, {rows} rows, {what}"),
            envoy: format!("routes-{exact}-{rows}"),
            filter: None,
            virtual_hosts: hosts(None, routes),
            matcher: None,
            path: "/direct",
            headers: vec![(header, value)],
        }
    };
    let last = rows - 1;
    vec![
        variant("exact header", "x-sandbox", format!("pr-{last}"), true),
        variant("regex on baggage", "baggage", format!("sandbox=pr-{last}"), false),
    ]
}

/// Envoy's own hash map over one header: no parsing, no filter, the physical limit.
fn matcher_variant(rows: usize) -> Variant {
    let action = json!({
        "action": {
            "name": "route",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.route.v3.Route",
                "match": {"prefix": "/"},
                "direct_response": ok(),
            },
        },
    });
    let map: serde_json::Map<_, _> =
        (0..rows).map(|row| (format!("pr-{row}"), action.clone())).collect();
    Variant {
        name: format!("Envoy's matcher tree, {rows} rows, header"),
        envoy: "matcher".into(),
        filter: None,
        virtual_hosts: json!([{"name": "*", "domains": ["*"]}]),
        matcher: Some(json!({
            "matcher_tree": {
                "input": {
                    "name": "header",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
                        "header_name": "x-sandbox",
                    },
                },
                "exact_match_map": {"map": map},
            },
            "on_no_match": action,
        })),
        path: "/",
        headers: vec![("x-sandbox", format!("pr-{}", rows - 1))],
    }
}

/// A Wasm filter as istiod configures it, but loaded at once.
pub(super) fn wasm(module: &Path, configuration: &str) -> Value {
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

/// The virtual hosts of every variant: a sidecar has them with and without skycap. Only the
/// dispatch route is skycap's, and its cost counts.
fn hosts(dispatch_route: Option<Value>, routes: Vec<Value>) -> Value {
    let baseline = json!({"match": {"prefix": "/"}, "route": {"cluster": CLUSTER}});
    let cart = dispatch_route.into_iter().chain(routes).chain([baseline]).collect();
    json!([virtual_host("cart.shop", cart), virtual_host("*", vec![direct("/")])])
}

fn virtual_host(domain: &str, routes: Vec<Value>) -> Value {
    let name = format!("{domain}.svc.cluster.local:80");
    json!({"name": name, "domains": [domain], "routes": routes})
}

fn direct(prefix: &str) -> Value {
    json!({"match": {"prefix": prefix}, "direct_response": ok()})
}

/// Eight members of other people's, 400 bytes.
pub(super) fn foreign_baggage() -> String {
    let members: Vec<_> = (0..8).map(|n| format!("member-number-{n}={}", "v".repeat(34))).collect();
    members.join(",")
}

/// A direct response.
fn ok() -> Value {
    json!({"status": 200, "body": {"inline_string": "ok"}})
}

/// The name of the reference: every ratio is to it.
pub(super) const REFERENCE: &str = "null filter, Rust SDK";
const CLUSTER: &str = "outbound|80||cart.shop.svc.cluster.local";
const NULL_RAW: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
    (func (export "proxy_on_context_create") (param i32 i32))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0)))"#;
