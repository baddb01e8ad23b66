//! The EnvoyFilters of the edge, which hold while the module does not.
//!
//! At an edge, the filter removes keys from outside, and says so with a filter state that no client
//! can set. Behind it stands a filter of Envoy's own for each header that services pass on. It removes
//! the header from a request that has no such state and may hold a key: because the module is absent,
//! has trapped or was rejected. Such a request loses the whole header, and keeps its response.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use skycap_core::{
    carrier::{Carrier, DEFAULT_MEMBER},
    config::{PluginConfig, Source},
    edge::{EDGE_CLOSED, Labels},
};

use super::{IstioMesh, filters::CONNECTION_MANAGER};
use crate::{names::EDGE, objects::Object};

impl IstioMesh {
    /// The EnvoyFilters of the edge: one for each set of labels, because an EnvoyFilter selects
    /// workloads by one. None if the edge is open.
    pub(super) fn edge_filters(&self, config: &PluginConfig) -> anyhow::Result<Vec<Object>> {
        let filter = |(index, labels): (usize, &Labels)| {
            let patches = passed_on(&config.carriers);
            let patches = patches.iter().map(|(header, names)| edge_patch(header, names));
            let labels = labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
            let labels: BTreeMap<_, _> = labels.collect();
            Object::new(self.envoy_filter(&edge_name(index), Some(&labels), patches.collect()))
        };
        config.edge.workloads.iter().enumerate().map(filter).collect()
    }
}

/// The name of the EnvoyFilter for the set of labels with this index.
#[must_use]
pub fn edge_name(index: usize) -> String {
    if index == 0 { EDGE.into() } else { format!("{EDGE}-{}", index + 1) }
}

/// The headers that services pass on, each with the names of its members; none for a header that
/// holds nothing but the key.
fn passed_on(carriers: &[Carrier]) -> BTreeMap<&str, Vec<&str>> {
    let mut headers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for carrier in carriers {
        match &carrier.source {
            Source::Baggage(name) => headers.entry("baggage").or_default().push(name),
            Source::Tracestate(name) => headers.entry("tracestate").or_default().push(name),
            Source::Header(name) => {
                headers.entry(name).or_default();
            }
            Source::Cookie(_) | Source::Host(_) | Source::Query(_) => {}
        }
    }
    if headers.is_empty() {
        headers.insert("baggage", vec![DEFAULT_MEMBER]);
    }
    headers
}

/// The patch that puts [`removal`] in front of a gateway's router, behind all plugins.
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

/// An HTTP filter that removes `header`, unless skycap's filter has cleaned the request. If the header
/// is a list, it also stays if it cannot hold one of these members.
fn removal(header: &str, names: &[&str]) -> Value {
    let is_closed = json!({"single_predicate": {
        "input": {
            "name": "envoy.matching.inputs.filter_state",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.FilterStateInput",
                "key": format!("wasm.{EDGE_CLOSED}"),
            },
        },
        "value_match": {"exact": "1"},
    }});
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
    let mut keeps = vec![is_closed];
    if !names.is_empty() {
        // A name with a `%` is decoded by some SDKs. RE2's `\C` is any byte, `.` only valid UTF-8.
        let encoded = json!({"safe_regex": {"google_re2": {}, "regex": r"\C*(?:^|,)[^=;,]*%\C*"}});
        let own = names.iter().map(|name| has(json!({"contains": name})));
        let candidates: Vec<_> = own.chain([has(encoded)]).collect();
        keeps.push(json!({"not_matcher": {"or_matcher": {"predicate": candidates}}}));
    }
    let keeps = match <[Value; 1]>::try_from(keeps) {
        Ok([only]) => only,
        Err(several) => json!({"or_matcher": {"predicate": several}}),
    };
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
                "predicate": keeps,
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
