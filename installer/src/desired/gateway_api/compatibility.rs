//! What a mesh would silently ignore, or what would break a Service: found before it is written.

use regex::Regex;
use serde_json::{Map, Value};

use super::{refusal::Refusal, rules::Matcher};
use crate::table::{cluster::ServiceFacts, policies::ForeignRoute};

/// A part of a user's HTTPRoute that skycap cannot combine with routing keys.
#[derive(Debug)]
pub(super) struct Incompatibility {
    /// The field, as `spec.rules[0].filters`.
    pub(super) field: String,
    pub(super) refusal: Refusal,
}

impl Incompatibility {
    fn new(field: impl Into<String>, refusal: Refusal) -> Self {
        Self { field: field.into(), refusal }
    }
}

/// The first part of an HTTPRoute that cannot be repeated for each key.
pub(super) fn find_incompatibility(
    route: &ForeignRoute,
    matchers: &[Matcher],
    is_linkerd: bool,
) -> Option<Incompatibility> {
    if !route.hostnames.is_empty() {
        return Some(Incompatibility::new("spec.hostnames", Refusal::Hostnames));
    }
    let mut rules = route.rules.iter().enumerate();
    rules.find_map(|(number, rule)| {
        let field = format!("spec.rules[{number}]");
        backend_problem(rule, &field, is_linkerd).or_else(|| {
            let mut matches = list(rule.get("matches")).enumerate();
            matches.find_map(|(index, one)| {
                let (part, refusal) = match_problem(one, matchers)?;
                Some(Incompatibility::new(format!("{field}.matches[{index}].{part}"), refusal))
            })
        })
    })
}

/// The filter because of which Linkerd drops a whole HTTPRoute, whatever its status says (linkerd2:
/// `policy-controller/k8s/index`, `convert_gateway_filter`).
pub(super) fn find_dropped_filter(route: &ForeignRoute) -> Option<Incompatibility> {
    let mut rules = route.rules.iter().enumerate();
    rules.find_map(|(number, rule)| {
        let of_backends =
            list(rule.get("backendRefs")).flat_map(|backend| list(backend.get("filters")));
        let filters = list(rule.get("filters")).chain(of_backends);
        let mut types = filters.filter_map(|filter| filter["type"].as_str());
        let filter = types.find(|name| LINKERD_UNSUPPORTED_FILTERS.contains(name))?.to_owned();
        let field = format!("spec.rules[{number}].filters");
        Some(Incompatibility::new(field, Refusal::DroppedFilter { filter }))
    })
}

/// Why the mesh does not treat a port of a Service as HTTP.
pub(super) fn check_protocol(
    service: &ServiceFacts,
    port: u16,
    is_linkerd: bool,
) -> Result<(), Refusal> {
    let opaque_ports = service.opaque_ports.as_deref().unwrap_or(LINKERD_OPAQUE_PORTS);
    if is_linkerd && includes_port(opaque_ports, port) {
        return Err(Refusal::OpaquePort { port });
    }
    let Some(protocol) = service.app_protocols.get(&port) else { return Ok(()) };
    let is_http = if is_linkerd {
        // linkerd2: `policy-controller/core/src/outbound.rs`, `AppProtocol`.
        ["http", "kubernetes.io/h2c"].contains(&protocol.as_str())
    } else {
        let lower = protocol.to_lowercase();
        let name = lower.trim_start_matches("kubernetes.io/");
        ["http", "http2", "h2c", "grpc", "grpc-web", "ws"].contains(&name)
    };
    if is_http { Ok(()) } else { Err(Refusal::AppProtocol { port, protocol: protocol.clone() }) }
}

fn backend_problem(
    rule: &Map<String, Value>,
    field: &str,
    is_linkerd: bool,
) -> Option<Incompatibility> {
    let redirects = list(rule.get("filters")).any(|filter| filter["type"] == "RequestRedirect");
    let backends = list(rule.get("backendRefs"));
    let count = backends.clone().count();
    if count == 0 && !redirects && !is_linkerd {
        return Some(Incompatibility::new(field, Refusal::NoBackends));
    }
    let mut weights = backends.map(|backend| backend["weight"].as_i64());
    (count > 1 && weights.all(|weight| weight == Some(0)))
        .then(|| Incompatibility::new(format!("{field}.backendRefs"), Refusal::ZeroWeights))
}

/// The part of a match that cannot be combined with a key, and why.
fn match_problem(one: &Value, matchers: &[Matcher]) -> Option<(&'static str, Refusal)> {
    let tests = |part: &str, name: &str| {
        list(one.get(part))
            .filter_map(|test| test["name"].as_str())
            .any(|tested| tested.eq_ignore_ascii_case(name))
    };
    let carried = matchers.iter().map(Matcher::tested);
    if let Some((part, name)) = carried.clone().find(|(part, name)| tests(part, name)) {
        return Some((part, Refusal::TestsCarrier { name: name.into() }));
    }
    let parts = [Matcher::HEADERS, Matcher::QUERY_PARAMETERS];
    if let Some(part) = parts.into_iter().find(|part| list(one.get(*part)).count() == MATCH_TESTS) {
        return Some((part, Refusal::FullList { limit: MATCH_TESTS }));
    }
    let tests = parts
        .into_iter()
        .flat_map(|part| list(one.get(part)).map(move |test| (part, test)))
        .chain(one.get("path").map(|path| ("path", path)));
    let mut expressions = tests.filter(|(_, test)| test["type"] == "RegularExpression");
    expressions.find_map(|(part, test)| {
        let expression = test["value"].as_str().unwrap_or_default();
        let error = Regex::new(expression).err()?.to_string();
        // The crate draws the expression with a marker first; its last line is the reason.
        let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        let (expression, reason) = (expression.to_owned(), reason.to_owned());
        Some((part, Refusal::InvalidExpression { expression, reason }))
    })
}

/// Whether a list such as `80,443,3000-4000` includes a port.
fn includes_port(ports: &str, port: u16) -> bool {
    ports.split(',').map(str::trim).any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.trim().parse::<u16>().ok();
        number(first).zip(number(last)).is_some_and(|(first, last)| (first..=last).contains(&port))
    })
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> + Clone {
    value.and_then(Value::as_array).into_iter().flatten()
}

/// The ports that Linkerd treats as opaque unless a Service has the annotation (linkerd2:
/// `charts/linkerd-control-plane`, `proxy.opaquePorts`).
const LINKERD_OPAQUE_PORTS: &str = "25,587,3306,4444,5432,6379,9300,11211";
const LINKERD_UNSUPPORTED_FILTERS: [&str; 4] =
    ["URLRewrite", "RequestMirror", "ExtensionRef", "CORS"];
/// The most headers, and the most query parameters, that a match may test (Gateway API).
const MATCH_TESTS: usize = 16;
