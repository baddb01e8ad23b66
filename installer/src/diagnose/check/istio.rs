//! Istio's objects that change what a request with a sandbox key gets.

use std::collections::BTreeSet;

use serde_json::Value;
use skycap_core::config::ServiceName;

use super::warning;
use crate::{
    objects::ObjectRef,
    problem::{Problem, Severity},
    table::{
        cluster::Name,
        policies::{POLICY_FIELDS, service_of},
    },
};

/// VirtualServices with routes to a baseline Service whose fields the dispatch route skips, since it
/// comes before all of their routes.
///
/// What counts is where a route leads, not only the host that it is for: at a gateway, the hosts are
/// those of clients.
pub(super) fn skipped(
    service: &ServiceName,
    virtual_services: &[Value],
    domain: &str,
    is_guarded: bool,
) -> Vec<Problem> {
    let judge = |virtual_service: &Value| {
        let routes = list(&virtual_service["spec"]["http"]).into_iter().flatten();
        let routes = routes.filter(|route| leads_to(virtual_service, route, service, domain));
        let fields: BTreeSet<_> = routes.flat_map(skipped_fields).collect();
        if fields.is_empty() {
            return None;
        }
        let gateways = list(&virtual_service["spec"]["gateways"]).into_iter().flatten();
        let gateways: Vec<_> =
            gateways.filter_map(Value::as_str).filter(|gateway| *gateway != "mesh").collect();
        let at = match gateways.as_slice() {
            [] => String::new(),
            gateways => format!(" at gateway `{}`", gateways.join("`, `")),
        };
        let fields = fields.into_iter().collect::<Vec<_>>().join("`, `");
        let what = format!("this `{fields}`");
        let is_guarded = is_guarded && !gateways.is_empty();
        let text = skipped_text(service, &what, &at, "VirtualService", is_guarded);
        Some(warning(VIRTUAL_SERVICE, &name_of(virtual_service), "spec.http", text))
    };
    virtual_services.iter().filter_map(judge).collect()
}

/// The HTTPRoutes and GRPCRoutes of Gateways that lead to a baseline Service with filters, which the
/// dispatch route skips.
pub(super) fn skipped_filters(
    service: &ServiceName,
    routes: &[ObjectRef],
    is_guarded: bool,
) -> Vec<Problem> {
    let text = |kind: &str| {
        skipped_text(service, "the filters", " at this route's Gateway", kind, is_guarded)
    };
    routes
        .iter()
        .map(|route| Problem::of(route.clone(), Severity::Warning, "spec.rules", text(&route.kind)))
        .collect()
}

/// What a request to a Service misses of an object of this kind, and where. If the Service is guarded,
/// the request misses the sandbox instead.
fn skipped_text(
    service: &ServiceName,
    what: &str,
    at: &str,
    kind: &str,
    is_guarded: bool,
) -> String {
    if is_guarded {
        format!(
            "requests to {service} from outside go to the baseline{at}, because the dispatch route would \
             skip {what}; the services behind it use the sandbox; to route them here too, set \
             `edgeBypass: \"on\"` in the settings"
        )
    } else {
        format!(
            "requests to {service} with a sandbox key skip {what}{at}: the dispatch route comes before \
             the {kind}'s routes; if that matters, use dispatch `header` with a route of your own"
        )
    }
}

/// The Sidecar as a problem if its egress hides the target (istio: `networking/v1/sidecar`,
/// `egress.hosts`).
pub(super) fn hidden(target: &Name, sidecar: &Value, root: &str, domain: &str) -> Option<Problem> {
    let (namespace, service) = target;
    let of = name_of(sidecar);
    // Only Sidecars of the sandbox's namespace or of all: workloads elsewhere may never call it.
    let in_scope = of.0 == *namespace || of.0 == root;
    let fqdn = format!("{service}.{namespace}.svc.{domain}");
    let egress = list(&sidecar["spec"]["egress"])?;
    let hosts = egress.iter().filter_map(|listener| list(&listener["hosts"])).flatten();
    let is_shown = hosts.filter_map(Value::as_str).any(|host| {
        let (from, name) = host.split_once('/').unwrap_or(("*", host));
        let is_from = from == "*" || from == namespace || (from == "." && of.0 == *namespace);
        let is_named = name == "*"
            || name == fqdn
            || name.strip_prefix('*').is_some_and(|suffix| fqdn.ends_with(suffix));
        is_from && is_named
    });
    let text = format!(
        "this Sidecar hides {service}.{namespace} from its workloads: they get a 503; add \
         `{namespace}/{fqdn}` or `{namespace}/*` to `hosts`"
    );
    (in_scope && !is_shown).then(|| warning(SIDECAR, &of, "spec.egress", text))
}

fn skipped_fields(route: &Value) -> Vec<&str> {
    let fields = route.as_object().into_iter().flat_map(serde_json::Map::keys);
    let fields = fields
        .map(String::as_str)
        .filter(|field| POLICY_FIELDS.contains(field) || SHAPING_FIELDS.contains(field));
    let destinations = list(&route["route"]).into_iter().flatten();
    let has_headers = destinations.filter(|to| to.get("headers").is_some()).map(|_| "headers");
    fields.chain(has_headers).collect()
}

/// Whether a route of a VirtualService leads to this Service, or is for its host and answers by itself.
fn leads_to(virtual_service: &Value, route: &Value, service: &ServiceName, domain: &str) -> bool {
    let (own, _) = name_of(virtual_service);
    let is_service = |host: &Value| {
        let found = host.as_str().and_then(|host| service_of(host, &own, domain));
        found.as_ref() == Some(service)
    };
    match list(&route["route"]) {
        Some(destinations) => destinations.iter().any(|to| is_service(&to["destination"]["host"])),
        None => list(&virtual_service["spec"]["hosts"]).into_iter().flatten().any(is_service),
    }
}

fn name_of(object: &Value) -> Name {
    let text = |field: &str| object["metadata"][field].as_str();
    (text("namespace").unwrap_or("default").into(), text("name").unwrap_or_default().into())
}

fn list(value: &Value) -> Option<&Vec<Value>> {
    value.as_array()
}

const VIRTUAL_SERVICE: (&str, &str) = ("networking.istio.io/v1", "VirtualService");
const SIDECAR: (&str, &str) = ("networking.istio.io/v1", "Sidecar");
/// Further fields of a VirtualService's route, beside [`POLICY_FIELDS`], that the dispatch route skips.
const SHAPING_FIELDS: [&str; 3] = ["delegate", "retries", "timeout"];

#[cfg(test)]
mod tests {
    use super::{ObjectRef, ServiceName, skipped_filters};

    #[test]
    fn a_route_with_filters_is_a_problem_of_its_service() {
        let route = ObjectRef::new("gateway.networking.k8s.io/v1", "HTTPRoute", "shop", "entry");
        let service = ServiceName::new("cart", "shop").expect("a name");
        for (is_guarded, expected) in [
            (true, "because the dispatch route would skip the filters; the services behind it"),
            (false, "skip the filters at this route's Gateway: the dispatch route comes before"),
        ] {
            let found = skipped_filters(&service, std::slice::from_ref(&route), is_guarded);
            assert!(found[0].text.contains(expected), "{}", found[0].text);
        }
    }
}
