//! What a mesh would pass over in silence, or break a Service by: found before it is written.

use regex::Regex;
use serde_json::Value;

use super::rules::Matcher;
use crate::table::{cluster::ServiceFacts, policies::ForeignRoute};

/// Why an HTTPRoute of somebody's cannot be said once more for each key: the field and the text.
pub(super) fn cannot_multiply(
    route: &ForeignRoute,
    matchers: &[Matcher],
    linkerd: bool,
) -> Option<(String, String)> {
    if !route.hostnames.is_empty() {
        let text =
            "it is for some hosts only, which skycap's rules cannot repeat; take `hostnames` away";
        return Some(("spec.hostnames".into(), text.into()));
    }
    for (number, rule) in route.rules.iter().enumerate() {
        let place = format!("spec.rules[{number}]");
        let filters: Vec<_> = list(rule.get("filters")).collect();
        let redirects = filters.iter().any(|filter| filter["type"] == "RequestRedirect");
        let backends = list(rule.get("backendRefs")).count();
        if backends == 0 && !redirects && !linkerd {
            let text = "it has no backendRefs, and is answered with a 500; name the Service itself";
            return Some((place, text.into()));
        }
        let weights = list(rule.get("backendRefs")).map(|backend| &backend["weight"]);
        if backends > 1 && weights.clone().all(|weight| weight.as_i64() == Some(0)) {
            let text = "all its weights are 0, which closes every connection on Linkerd; give one of them 1";
            return Some((format!("{place}.backendRefs"), text.into()));
        }
        for (index, one) in list(rule.get("matches")).enumerate() {
            if let Some((field, text)) = bad_match(one, matchers) {
                return Some((format!("{place}.matches[{index}].{field}"), text));
            }
        }
    }
    None
}

fn bad_match(one: &Value, matchers: &[Matcher]) -> Option<(&'static str, String)> {
    let asks = |field: &str, name: &str| {
        list(one.get(field))
            .any(|asked| asked["name"].as_str().is_some_and(|n| n.eq_ignore_ascii_case(name)))
    };
    for matcher in matchers {
        let header =
            matcher.header().filter(|name| asks("headers", name)).map(|name| ("headers", name));
        let parameter = matcher
            .parameter()
            .filter(|name| asks("queryParams", name))
            .map(|name| ("queryParams", name));
        if let Some((field, name)) = header.or(parameter) {
            let text = format!(
                "it asks for `{name}`, in which the key stands, and one match asks for it once; match \
                 something else, or make it a sandbox"
            );
            return Some((field, text));
        }
    }
    for (field, limit) in [("headers", 16), ("queryParams", 16)] {
        if list(one.get(field)).count() == limit {
            return Some((
                field,
                format!("it has {limit}, and no room for the key; take one away"),
            ));
        }
    }
    let expressions = ["headers", "queryParams"]
        .into_iter()
        .flat_map(|field| list(one.get(field)).map(move |asked| (field, asked)))
        .chain(one.get("path").map(|path| ("path", path)));
    for (field, asked) in expressions.filter(|(_, asked)| asked["type"] == "RegularExpression") {
        let value = asked["value"].as_str().unwrap_or_default();
        if let Err(error) = Regex::new(value) {
            let error = error.to_string();
            let why = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            return Some((field, format!("`{value}` is no regular expression: {why}; mend it")));
        }
    }
    None
}

/// Why Linkerd drops a whole HTTPRoute, whatever its status says (linkerd2:
/// `policy-controller/k8s/index`, `convert_gateway_filter`).
pub(super) fn dropped(route: &ForeignRoute) -> Option<(String, String)> {
    const UNKNOWN: [&str; 4] = ["URLRewrite", "RequestMirror", "ExtensionRef", "CORS"];
    for (number, rule) in route.rules.iter().enumerate() {
        let backends =
            list(rule.get("backendRefs")).flat_map(|backend| list(backend.get("filters")));
        for filter in list(rule.get("filters")).chain(backends) {
            let kind = filter["type"].as_str().unwrap_or_default();
            if UNKNOWN.contains(&kind) {
                let text = format!(
                    "Linkerd has no `{kind}`, and drops the whole HTTPRoute though its status says \
                     Accepted; take the filter away"
                );
                return Some((format!("spec.rules[{number}].filters"), text));
            }
        }
    }
    None
}

/// Why a mesh does not take a port for HTTP.
pub(super) fn opaque(facts: &ServiceFacts, port: u16, linkerd: bool) -> Option<String> {
    let opaque = facts.opaque_ports.as_deref().unwrap_or(LINKERD_OPAQUE_PORTS);
    if linkerd && names(opaque, port) {
        return Some(format!(
            "port {port} is opaque for Linkerd (`config.linkerd.io/opaque-ports`), and no HTTPRoute \
             has an effect there; take it out of the annotation, or give one without it"
        ));
    }
    let protocol = facts.app_protocols.get(&port)?;
    // linkerd2: `policy-controller/core/src/outbound.rs`, `AppProtocol`.
    let for_linkerd = ["http", "kubernetes.io/h2c"].contains(&protocol.as_str());
    let plain = protocol.to_lowercase();
    let plain = plain.trim_start_matches("kubernetes.io/");
    let for_others = ["http", "http2", "h2c", "grpc", "grpc-web", "ws"].contains(&plain);
    (if linkerd { !for_linkerd } else { !for_others }).then(|| {
        format!(
            "port {port} has appProtocol `{protocol}`, which the mesh does not take for HTTP; \
             expected `http` or `kubernetes.io/h2c`"
        )
    })
}

/// Whether `80,443,3000-4000` names a port.
fn names(ports: &str, port: u16) -> bool {
    ports.split(',').map(str::trim).any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.trim().parse::<u16>().ok();
        number(first).zip(number(last)).is_some_and(|(first, last)| (first..=last).contains(&port))
    })
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> + Clone {
    value.and_then(Value::as_array).into_iter().flatten()
}

pub(super) fn too_large(bytes: usize, limit: usize) -> String {
    format!(
        "its routes would take {bytes} bytes of a proxy's policy, expected at most {limit} (gRPC's \
         4 MiB, beyond which no client of the Service gets any); end sandboxes"
    )
}

/// What Linkerd takes for opaque where a Service does not say (linkerd2: `charts/linkerd-control-plane`,
/// `proxy.opaquePorts`).
const LINKERD_OPAQUE_PORTS: &str = "25,587,3306,4444,5432,6379,9300,11211";
pub(super) const HEADLESS: &str = "it has no ClusterIP, and meshes route by that; give it one";
pub(super) const NO_PORTS: &str =
    "its ports are not known; give its Service with -f, or write `port` in the routes";
pub(super) const GRPC_ROUTE: &str = "a GRPCRoute on a Service disables its HTTPRoutes (GEP-1426); make it an HTTPRoute, which takes \
     gRPC too";
pub(super) const PROFILE: &str = "a ServiceProfile with routes or overrides stands over all HTTPRoutes; take them away, and \
     restart the Service's clients";
pub(super) const TWO_FORMS: &str = "of the HTTPRoutes on it some are for one port and some for all, and Istio follows only the older \
     of the two kinds; write `port` in all of their parentRefs";
pub(super) const TAKEN: &str =
    "it has the name of one of skycap's, but not its label, and is left alone; rename it";
pub(super) const NO_CARRIER: &str = "no rule of an HTTPRoute can ask for it, and meshes of the Gateway API do not read it; use \
     baggage, a header or a query parameter";
pub(super) const NO_INJECT: &str = "`inject` has no effect on meshes of the Gateway API, which add to no header; let the first \
     service put the key into baggage";
pub(super) const TOO_MANY_CARRIERS: &str =
    "one rule of an HTTPRoute takes 8 carriers; those behind them are not read";
