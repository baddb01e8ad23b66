//! The rules of a Service port: those for requests without a key, and their copies for one key.

use serde_json::{Map, Value, json};
use skycap_core::{
    carrier::{Carrier, Source},
    config::ServiceName,
    key::RoutingKey,
};

use super::expression::MemberExpression;
use crate::table::policies::ForeignRoute;

/// A rule for requests without a key.
#[derive(Debug, Clone)]
pub(super) struct BaselineRule {
    /// Never empty, and few enough that the copy for a key fits into one rule.
    pub(super) matches: Vec<Map<String, Value>>,
    /// Filters, timeouts and all other fields.
    rest: Map<String, Value>,
    backends: Option<Value>,
}

impl BaselineRule {
    /// The rule of a Service on which the user has no HTTPRoute. It names the Service as its
    /// backend: without backendRefs Linkerd uses the parent, and other meshes answer 500.
    pub(super) fn for_service(service: &ServiceName, port: u16) -> Self {
        Self {
            matches: vec![everything()],
            rest: Map::new(),
            backends: Some(json!([backend(service.name(), service.namespace(), port)])),
        }
    }

    /// The rules of the user's HTTPRoutes, which are given by descending rank. Omits a match that
    /// an earlier rule has too, because it never decides.
    pub(super) fn copies(routes: &[&ForeignRoute], matches_per_rule: usize) -> Vec<Self> {
        let mut seen = Vec::new();
        let mut copies = Vec::new();
        for rule in routes.iter().flat_map(|route| &route.rules) {
            let mut rest = rule.clone();
            // The name of a rule must be unique in its route, and the copies would share it.
            rest.remove("name");
            let backends = rest.remove("backendRefs");
            let mut matches = matches(&rest.remove("matches").unwrap_or_default());
            matches.retain(|one| !seen.contains(one));
            seen.extend(matches.iter().cloned());
            copies.extend(matches.chunks(matches_per_rule).map(|matches| Self {
                matches: matches.to_vec(),
                rest: rest.clone(),
                backends: backends.clone(),
            }));
        }
        copies
    }

    /// The rule itself, for an HTTPRoute.
    pub(super) fn rule(&self) -> Value {
        self.with(self.matches.clone(), self.backends.clone())
    }

    /// The copy for requests with a key: each match combined with each carrier's conditions, the
    /// same filters, and another backend.
    pub(super) fn rule_for_key(&self, carriers: &[Map<String, Value>], backend: Value) -> Value {
        let matches = self.matches.iter().flat_map(|base| {
            carriers.iter().map(|carrier| {
                let mut combined = base.clone();
                for (part, added) in carrier {
                    let list = combined.entry(part.clone()).or_insert_with(|| json!([]));
                    if let (Value::Array(list), Value::Array(added)) = (list, added) {
                        list.extend(added.iter().cloned());
                    }
                }
                combined
            })
        });
        // A redirect must not have a backend (Gateway API: the CEL rules of HTTPRouteRule).
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

/// A carrier that an HTTPRoute can match.
#[derive(Debug, Clone)]
pub(super) enum Matcher {
    Baggage(MemberExpression),
    Header(String),
    Query(String),
}

impl Matcher {
    /// The field of a match that tests headers.
    pub(super) const HEADERS: &str = "headers";
    /// The field of a match that tests query parameters.
    pub(super) const QUERY_PARAMETERS: &str = "queryParams";

    /// The matcher of a carrier; `None` if no match can be exact for it.
    pub(super) fn new(carrier: &Carrier) -> Option<Self> {
        match &carrier.source {
            Source::Baggage(name) => Some(Self::Baggage(MemberExpression::new(name))),
            Source::Header(name) => Some(Self::Header(name.clone())),
            Source::Query(name) => Some(Self::Query(name.clone())),
            Source::Cookie(_) | Source::Host(_) | Source::Tracestate(_) => None,
        }
    }

    /// The fields that it adds to a match, to test for a key.
    pub(super) fn fields(&self, key: &RoutingKey) -> Map<String, Value> {
        let (part, name) = self.tested();
        let test = match self {
            Self::Baggage(member) => {
                json!({"type": "RegularExpression", "name": name, "value": member.for_key(key)})
            }
            Self::Header(_) | Self::Query(_) => {
                json!({"type": "Exact", "name": name, "value": key.as_str()})
            }
        };
        Map::from_iter([(part.to_owned(), json!([test]))])
    }

    /// The field of a match, and the name of the header (in lower case) or query parameter in it.
    pub(super) fn tested(&self) -> (&'static str, &str) {
        match self {
            Self::Baggage(_) => (Self::HEADERS, "baggage"),
            Self::Header(name) => (Self::HEADERS, name),
            Self::Query(name) => (Self::QUERY_PARAMETERS, name),
        }
    }
}

/// A backendRef. It always names the namespace: without one Linkerd uses the parent's, against the
/// specification (linkerd2: `outbound/index/http.rs`, `convert_backend`).
pub(super) fn backend(name: &str, namespace: &str, port: u16) -> Value {
    json!({"group": "", "kind": "Service", "namespace": namespace, "name": name, "port": port})
}

/// A match for all requests.
fn everything() -> Map<String, Value> {
    Map::from_iter([("path".to_owned(), json!({"type": "PathPrefix", "value": "/"}))])
}

/// The matches of a rule with explicit defaults. A rule without matches matches all requests.
fn matches(matches: &Value) -> Vec<Map<String, Value>> {
    let matches: Vec<_> =
        matches.as_array().into_iter().flatten().filter_map(Value::as_object).collect();
    if matches.is_empty() {
        return vec![everything()];
    }
    let with_defaults = |one: &Map<String, Value>| {
        let mut all = everything();
        all.extend(one.clone());
        all
    };
    matches.into_iter().map(with_defaults).collect()
}
