//! The other ways to route by a key that a stock Istio has: Lua, routes, Envoy's matcher tree.

use serde_json::json;
use skycap_core::dispatch::CLUSTER_HEADER;

use super::{
    Variant,
    config::{direct, hosts, ok},
};

/// Lua that does the same: reads the member `sandbox` of baggage, looks the key up, sets the
/// header.
pub(super) fn lua_variants(rows: usize) -> Vec<Variant> {
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

/// The routes of a VirtualService with one match for each sandbox. Requests ask for the last one.
pub(super) fn route_variants(rows: usize) -> Vec<Variant> {
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

/// Envoy's own hash map over one header: no parsing and no filter, so the lower bound.
pub(super) fn matcher_variant(rows: usize) -> Variant {
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
