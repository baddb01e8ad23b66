//! The rules of a Service's port: what its requests do without skycap, and the same for one key.

use serde_json::{Map, Value, json};
use skycap_core::{
    carrier::{Carrier, Source},
    config::ServiceName,
    key::RoutingKey,
};

use super::expression::MemberExpression;
use crate::table::policies::ForeignRoute;

/// A rule as it is without skycap, of as many matches as the oldest CRDs take in one rule.
#[derive(Debug, Clone)]
pub(super) struct Base {
    pub(super) matches: Vec<Map<String, Value>>,
    /// Filters, timeouts and whatever else the rule says.
    rest: Map<String, Value>,
    backends: Option<Value>,
}

impl Base {
    /// What a Service does on which nobody has an HTTPRoute. It names the Service as its backend:
    /// without backends Linkerd takes the parent, and other meshes answer 500.
    pub(super) fn of_service(service: &ServiceName, port: u16) -> Self {
        Self {
            matches: vec![everything()],
            rest: Map::new(),
            backends: Some(json!([backend(service.name(), service.namespace(), port)])),
        }
    }

    /// The rules of somebody's HTTPRoutes, those of higher rank first. A match that one of higher
    /// rank has too never decides, and is left out.
    pub(super) fn of_routes(routes: &[&ForeignRoute], matches_per_rule: usize) -> Vec<Self> {
        let mut seen = Vec::new();
        let mut bases = Vec::new();
        for rule in routes.iter().flat_map(|route| &route.rules) {
            let mut rest = rule.clone();
            // Names of rules are unique in a route, and these come several times.
            rest.remove("name");
            let backends = rest.remove("backendRefs");
            let mut matches = matches(&rest.remove("matches").unwrap_or_default());
            matches.retain(|one| !seen.contains(one));
            seen.extend(matches.iter().cloned());
            bases.extend(matches.chunks(matches_per_rule).map(|matches| Self {
                matches: matches.to_vec(),
                rest: rest.clone(),
                backends: backends.clone(),
            }));
        }
        bases
    }

    /// The rule as it is.
    pub(super) fn rule(&self) -> Value {
        self.with(self.matches.clone(), self.backends.clone())
    }

    /// The rule for the requests that carry a key: each match with each carrier, the same filters,
    /// another backend.
    pub(super) fn rule_of(&self, carriers: &[Map<String, Value>], backend: Value) -> Value {
        let matches = self.matches.iter().flat_map(|base| {
            carriers.iter().map(|carrier| {
                let mut both = base.clone();
                for (field, added) in carrier {
                    let list = both.entry(field.clone()).or_insert_with(|| json!([]));
                    if let (Value::Array(list), Value::Array(added)) = (list, added) {
                        list.extend(added.iter().cloned());
                    }
                }
                both
            })
        });
        // A redirect has no backend, with a key as without (Gateway API: HTTPRouteRule's CEL).
        let backends = (!self.redirects()).then(|| json!([backend]));
        self.with(matches.collect(), backends)
    }

    fn redirects(&self) -> bool {
        let filters = self.rest.get("filters").and_then(Value::as_array);
        filters.into_iter().flatten().any(|filter| filter["type"] == "RequestRedirect")
    }

    fn with(&self, matches: Vec<Map<String, Value>>, backends: Option<Value>) -> Value {
        let mut rule = self.rest.clone();
        rule.insert("matches".into(), matches.into_iter().map(Value::Object).collect());
        rule.extend(backends.map(|backends| ("backendRefs".to_owned(), backends)));
        Value::Object(rule)
    }
}

/// A carrier that a match of an HTTPRoute can ask for.
#[derive(Debug, Clone)]
pub(super) enum Matcher {
    Baggage(MemberExpression),
    Header(String),
    Query(String),
}

impl Matcher {
    /// The matcher of a carrier; `None` for those that no match can ask for exactly.
    pub(super) fn of(carrier: &Carrier) -> Option<Self> {
        match &carrier.source {
            Source::Baggage(name) => Some(Self::Baggage(MemberExpression::new(name))),
            Source::Header(name) => Some(Self::Header(name.clone())),
            Source::Query(name) => Some(Self::Query(name.clone())),
            Source::Cookie(_) | Source::Host(_) | Source::Tracestate(_) => None,
        }
    }

    /// The fields that it adds to a match.
    pub(super) fn fields(&self, key: &RoutingKey) -> Map<String, Value> {
        let (field, one) = match self {
            Self::Baggage(member) => (
                "headers",
                json!({"type": "RegularExpression", "name": "baggage", "value": member.of(key)}),
            ),
            Self::Header(name) => {
                ("headers", json!({"type": "Exact", "name": name, "value": key.as_str()}))
            }
            Self::Query(name) => {
                ("queryParams", json!({"type": "Exact", "name": name, "value": key.as_str()}))
            }
        };
        Map::from_iter([(field.to_owned(), json!([one]))])
    }

    /// The header that it asks for, in lower case.
    pub(super) fn header(&self) -> Option<&str> {
        match self {
            Self::Baggage(_) => Some("baggage"),
            Self::Header(name) => Some(name),
            Self::Query(_) => None,
        }
    }

    /// The query parameter that it asks for.
    pub(super) fn parameter(&self) -> Option<&str> {
        match self {
            Self::Query(name) => Some(name),
            Self::Baggage(_) | Self::Header(_) => None,
        }
    }
}

/// Its namespace is always written: without one Linkerd takes the parent's, against the spec
/// (linkerd2: `outbound/index/http.rs`, `convert_backend`).
pub(super) fn backend(name: &str, namespace: &str, port: u16) -> Value {
    json!({"group": "", "kind": "Service", "namespace": namespace, "name": name, "port": port})
}

fn everything() -> Map<String, Value> {
    Map::from_iter([("path".to_owned(), json!({"type": "PathPrefix", "value": "/"}))])
}

/// The matches of a rule with their defaults written out; a rule without matches matches all.
fn matches(matches: &Value) -> Vec<Map<String, Value>> {
    let matches: Vec<_> =
        matches.as_array().into_iter().flatten().filter_map(Value::as_object).collect();
    if matches.is_empty() {
        return vec![everything()];
    }
    let written_out = |one: &Map<String, Value>| {
        let mut all = everything();
        all.extend(one.clone());
        all
    };
    matches.into_iter().map(written_out).collect()
}
