//! The HTTPRoutes of one Service port: how many keys go into one, its name, its rules.

use serde_json::{Map, Value, json};
use skycap_core::{config::ServiceName, key::RoutingKey};

use super::{
    packing::pack,
    rules::{Base, Matcher},
};
use crate::{
    names::KEYS_ANNOTATION,
    objects::{Object, object},
    table::policies::{ForeignRoute, PolicyKind},
};

/// A Service and its port.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServicePort<'a> {
    pub(super) service: &'a ServiceName,
    pub(super) port: u16,
    /// Whether an HTTPRoute for it names the port, or is for all ports of a Service that has one.
    pub(super) names_port: bool,
}

/// The HTTPRoutes of a port: in `namespace`, beside those of others there, with a backend for each
/// key.
pub(super) fn routes_of(
    parent: ServicePort<'_>,
    namespace: &str,
    foreign: &[&ForeignRoute],
    matchers: &[Matcher],
    backends: &[(RoutingKey, Value)],
) -> Vec<Object> {
    let carriers = matchers.len();
    let bases = match foreign {
        [] => vec![Base::of_service(parent.service, parent.port)],
        foreign => Base::of_routes(foreign, RULE_MATCHES / carriers),
    };
    let mut objects = Vec::new();
    for (number, bases) in groups(bases, carriers).iter().enumerate() {
        let matches: usize = bases.iter().map(|base| base.matches.len()).sum();
        let capacity = ((ROUTE_RULES - bases.len()) / bases.len())
            .min((ROUTE_MATCHES - matches) / (matches * carriers));
        let group = if number == 0 { String::new() } else { format!("r{}-", number + 1) };
        for (place, keys) in pack(backends.to_vec(), capacity) {
            let name = format!("{}{group}{place}", prefix(parent, namespace));
            objects.extend(route(parent, namespace, &name, bases, matchers, &keys));
        }
    }
    objects
}

fn route(
    parent: ServicePort<'_>,
    namespace: &str,
    name: &str,
    bases: &[Base],
    matchers: &[Matcher],
    keys: &[(RoutingKey, Value)],
) -> Option<Object> {
    let ServicePort { service, port, names_port } = parent;
    let mut rules = Vec::new();
    for (key, backend) in keys {
        let carriers: Vec<Map<_, _>> = matchers.iter().map(|m| m.fields(key)).collect();
        rules.extend(bases.iter().map(|base| base.rule_of(&carriers, backend.clone())));
    }
    rules.extend(bases.iter().map(Base::rule));
    let names: Vec<_> = keys.iter().map(|(key, _)| key.as_str()).collect();
    let mut spec = json!({
        "parentRefs": [{
            "group": "", "kind": "Service",
            "namespace": service.namespace(), "name": service.name(),
        }],
        "rules": rules,
    });
    if names_port {
        spec["parentRefs"][0]["port"] = port.into();
    }
    let (api_version, kind) = PolicyKind::HttpRoute.names();
    let mut object = object(api_version, kind, Some(namespace), name, json!({"spec": spec}));
    // For people: the expressions do not show at a glance whose they are.
    object["metadata"]["annotations"] = json!({KEYS_ANNOTATION: names.join(" ")});
    // Of one shape, which `Object` takes.
    Object::new(object).ok()
}

/// The rules in groups that leave room for a key in each HTTPRoute.
fn groups(bases: Vec<Base>, carriers: usize) -> Vec<Vec<Base>> {
    let mut groups: Vec<Vec<Base>> = Vec::new();
    for base in bases {
        let fits = groups.last().is_some_and(|group| {
            let matches: usize = group.iter().chain([&base]).map(|base| base.matches.len()).sum();
            group.len() < ROUTE_RULES / 2 && matches * (1 + carriers) <= ROUTE_MATCHES
        });
        match groups.last_mut().filter(|_| fits) {
            Some(group) => group.push(base),
            None => groups.push(vec![base]),
        }
    }
    groups
}

/// How the names of a port's HTTPRoutes begin; in another namespace with the Service's own.
pub(super) fn prefix(parent: ServicePort<'_>, namespace: &str) -> String {
    let ServicePort { service, port, .. } = parent;
    let service = if namespace == service.namespace() { service.name() } else { service.as_str() };
    format!("skycap-{service}-{port}-")
}

/// About what an HTTPRoute takes of the policy that Linkerd sends to a proxy: its expressions are
/// there twice, once for HTTP/1 and once for HTTP/2.
pub(super) fn policy_bytes(object: &Object) -> usize {
    let rules = &object.0.data["spec"]["rules"];
    let values = rules.as_array().into_iter().flatten().flat_map(|rule| {
        rule["matches"].as_array().into_iter().flatten().flat_map(|one| {
            one["headers"].as_array().into_iter().flatten().filter_map(|h| h["value"].as_str())
        })
    });
    values.map(str::len).sum::<usize>() + object.bytes()
}

/// Rules in one HTTPRoute (Gateway API, all versions).
const ROUTE_RULES: usize = 16;
/// Matches in one HTTPRoute: "must be less than 128" (its CEL, from 1.2 on).
const ROUTE_MATCHES: usize = 127;
/// Matches in one rule, before 1.2; from then on 64.
pub(super) const RULE_MATCHES: usize = 8;
/// Linkerd's policy of one Service port must stay under gRPC's 4 MiB; what is more is lost to all
/// of the Service's clients. A tenth is for what else is in it.
pub(super) const POLICY_LIMIT: usize = (4 << 20) / 10 * 9;
