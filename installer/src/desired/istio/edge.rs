//! The EnvoyFilter of the edge, which holds while the module does not.
//!
//! At a gateway, the filter removes keys from outside, and says so with a filter state that no client
//! can set. Behind it stands a filter of Envoy's own for each header that services pass on. It removes
//! the header from a request that has no such state and may hold a key: because the module is absent,
//! has trapped or was rejected. Such a request loses the whole header, and keeps its response.
//!
//! It is for all gateways, whatever their labels: one that was forgotten is closed too, and one that is
//! not an edge, such as an egress gateway, loses keys only while its module does not run.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use skycap_core::{
    carrier::{Carrier, DEFAULT_MEMBER},
    config::{PluginConfig, Source},
    edge::EDGE_CLOSED,
};

use super::{IstioMesh, filters::CONNECTION_MANAGER};
use crate::{names::EDGE, objects::Object};

impl IstioMesh {
    /// The EnvoyFilter of the edge; `None` if there is none.
    pub(super) fn edge_filter(&self, config: &PluginConfig) -> anyhow::Result<Option<Object>> {
        if config.edge.is_open() {
            return Ok(None);
        }
        let patches = passed_on(&config.carriers);
        let patches = patches.iter().map(|(header, names)| edge_patch(header, names));
        Object::new(self.envoy_filter(EDGE, None, patches.collect())).map(Some)
    }
}

/// The headers that services pass on, each with the names of its members; none for a header that
/// holds nothing but the key.
fn passed_on(carriers: &[Carrier]) -> BTreeMap<&str, Vec<&str>> {
    let mut headers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for carrier in carriers {
        match &carrier.source {
            Source::Baggage(name) => headers.entry("baggage").or_default().push(name),
            Source::Header(name) => {
                headers.entry(name).or_default();
            }
            Source::Cookie(_) | Source::Host(_) | Source::Query(_) | Source::Tracestate(_) => {}
        }
    }
    // What the filter writes with `inject`.
    let baggage = headers.entry("baggage").or_default();
    if baggage.is_empty() {
        baggage.push(DEFAULT_MEMBER);
    }
    headers
}

/// The patch that puts the removal of `header` in front of a gateway's router, behind all plugins. A
/// header that is a list stays if it cannot hold one of the members `names`.
#[must_use]
pub fn edge_patch(header: &str, names: &[&str]) -> Value {
    json!({
        "applyTo": "HTTP_FILTER",
        "match": {
            "context": "GATEWAY",
            "listener": {"filterChain": {"filter": {
                "name": CONNECTION_MANAGER,
                "subFilter": {"name": "envoy.filters.http.router"},
            }}},
        },
        "patch": {"operation": "INSERT_BEFORE", "value": removal(header, names)},
    })
}

/// An HTTP filter that removes `header`, unless it may [stay].
///
/// [stay]: stays
fn removal(header: &str, names: &[&str]) -> Value {
    json!({
        "name": format!("skycap.edge.{header}"),
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher",
            "extension_config": {
                "name": "envoy.filters.http.header_mutation",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
                    "mutations": {"request_mutations": [{"remove": header}]},
                },
            },
            "xds_matcher": {"matcher_list": {"matchers": [{
                "predicate": stays(header, names),
                "on_match": {"action": {
                    "name": "skip",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.common.matcher.action.v3.SkipFilter",
                    },
                }},
            }]}},
        },
    })
}

/// The condition under which a header stays: skycap's filter has seen the request, or the header is a
/// list that cannot hold one of these members.
fn stays(header: &str, names: &[&str]) -> Value {
    let is_seen = json!({"single_predicate": {
        "input": {
            "name": "envoy.matching.inputs.filter_state",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.FilterStateInput",
                "key": format!("wasm.{EDGE_CLOSED}"),
            },
        },
        "value_match": {"exact": "1"},
    }});
    if names.is_empty() {
        return is_seen;
    }
    let has = |value: Value| {
        json!({"single_predicate": {
            "input": {
                "name": header,
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
                    "header_name": header,
                },
            },
            "value_match": value,
        }})
    };
    // What is encoded, or has white space in a name, some SDKs write again as a member; and bytes beyond
    // ASCII are trimmed. RE2's `\C` is any byte, but a class matches only valid UTF-8.
    let regex = |regex: &str| has(json!({"safe_regex": {"google_re2": {}, "regex": regex}}));
    let encoded = has(json!({"contains": "%"}));
    let spaced = regex(r"\C*[^\x00-\x20,;=][\x00-\x20]+[^\x00-\x20,;=]\C*");
    let not_ascii = json!({"not_matcher": regex(r"[\x00-\x7f]*")});
    let own = names.iter().map(|name| has(json!({"contains": name})));
    let candidates: Vec<_> = own.chain([encoded, spaced, not_ascii]).collect();
    let has_none = json!({"not_matcher": {"or_matcher": {"predicate": candidates}}});
    json!({"or_matcher": {"predicate": [is_seen, has_none]}})
}
