//! The HTTPRoutes of one Service port: their names, their rules, and how many keys each can hold.

use serde_json::{Map, Value, json};
use skycap_core::{config::ServiceName, key::RoutingKey};

use super::{
    packing::pack,
    rules::{BaselineRule, Matcher},
};
use crate::{
    names::KEYS_ANNOTATION,
    objects::{Object, object},
    table::policies::{ForeignRoute, PolicyKind},
};

/// A port of a Service, as the parent of HTTPRoutes.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServicePort<'a> {
    pub(super) service: &'a ServiceName,
    pub(super) port: u16,
    /// Whether the parentRef names the port. Otherwise, it is for all ports, of which the Service
    /// has one.
    pub(super) is_port_named: bool,
}

/// The HTTPRoutes of a port in `namespace`, beside those of the user there, with a backend for each
/// key.
pub(super) fn http_routes(
    parent: ServicePort<'_>,
    namespace: &str,
    foreign: &[&ForeignRoute],
    matchers: &[Matcher],
    backends: &[(RoutingKey, Value)],
) -> Vec<Object> {
    let carriers = matchers.len();
    let rules = match foreign {
        [] => vec![BaselineRule::for_service(parent.service, parent.port)],
        foreign => BaselineRule::copies(foreign, RULE_MATCHES / carriers),
    };
    let mut objects = Vec::new();
    for (number, rules) in groups(rules, carriers).iter().enumerate() {
        let matches: usize = rules.iter().map(|rule| rule.matches.len()).sum();
        let capacity = ((ROUTE_RULES - rules.len()) / rules.len())
            .min((ROUTE_MATCHES - matches) / (matches * carriers));
        let group = if number == 0 { String::new() } else { format!("r{}-", number + 1) };
        for (start, keys) in pack(backends.to_vec(), capacity) {
            let name = format!("{}{group}{start}", name_prefix(parent, namespace));
            objects.extend(http_route(parent, namespace, &name, rules, matchers, &keys));
        }
    }
    objects
}

fn http_route(
    parent: ServicePort<'_>,
    namespace: &str,
    name: &str,
    baseline: &[BaselineRule],
    matchers: &[Matcher],
    keys: &[(RoutingKey, Value)],
) -> Option<Object> {
    let ServicePort { service, port, is_port_named } = parent;
    let mut rules = Vec::new();
    for (key, backend) in keys {
        let carriers: Vec<Map<_, _>> = matchers.iter().map(|m| m.fields(key)).collect();
        rules.extend(baseline.iter().map(|rule| rule.rule_for_key(&carriers, backend.clone())));
    }
    rules.extend(baseline.iter().map(BaselineRule::rule));
    let names: Vec<_> = keys.iter().map(|(key, _)| key.as_str()).collect();
    let mut spec = json!({
        "parentRefs": [{
            "group": "", "kind": "Service",
            "namespace": service.namespace(), "name": service.name(),
        }],
        "rules": rules,
    });
    if is_port_named {
        spec["parentRefs"][0]["port"] = port.into();
    }
    let (api_version, kind) = PolicyKind::HttpRoute.names();
    let mut object = object(api_version, kind, Some(namespace), name, json!({"spec": spec}));
    // For people: the keys are hard to read from the expressions.
    object["metadata"]["annotations"] = json!({KEYS_ANNOTATION: names.join(" ")});
    // It has apiVersion, kind and name, so this does not fail.
    Object::new(object).ok()
}

/// The rules in groups, each of which leaves room for a key in an HTTPRoute.
fn groups(rules: Vec<BaselineRule>, carriers: usize) -> Vec<Vec<BaselineRule>> {
    let mut groups: Vec<Vec<BaselineRule>> = Vec::new();
    for rule in rules {
        let fits = groups.last().is_some_and(|group| {
            let matches: usize = group.iter().chain([&rule]).map(|rule| rule.matches.len()).sum();
            group.len() < ROUTE_RULES / 2 && matches * (1 + carriers) <= ROUTE_MATCHES
        });
        match groups.last_mut().filter(|_| fits) {
            Some(group) => group.push(rule),
            None => groups.push(vec![rule]),
        }
    }
    groups
}

/// The beginning of the names of a port's HTTPRoutes. In another namespace than the Service's, it
/// contains the Service's namespace.
pub(super) fn name_prefix(parent: ServicePort<'_>, namespace: &str) -> String {
    let ServicePort { service, port, .. } = parent;
    let service = if namespace == service.namespace() { service.name() } else { service.as_str() };
    format!("skycap-{service}-{port}-")
}

/// The approximate size of an HTTPRoute in the policy that Linkerd sends to a proxy, in bytes. It
/// contains the expressions twice, for HTTP/1 and for HTTP/2.
pub(super) fn policy_bytes(object: &Object) -> usize {
    let rules = &object.0.data["spec"]["rules"];
    let values = rules.as_array().into_iter().flatten().flat_map(|rule| {
        rule["matches"].as_array().into_iter().flatten().flat_map(|one| {
            one["headers"].as_array().into_iter().flatten().filter_map(|h| h["value"].as_str())
        })
    });
    values.map(str::len).sum::<usize>() + object.bytes()
}

/// The most rules of an HTTPRoute (Gateway API, all versions).
const ROUTE_RULES: usize = 16;
/// The most matches of an HTTPRoute: "must be less than 128" (its CEL, from 1.2 on).
const ROUTE_MATCHES: usize = 127;
/// The most matches of a rule before Gateway API 1.2; from then on 64.
pub(super) const RULE_MATCHES: usize = 8;
/// The limit for the policy of one Service port, in bytes: gRPC's 4 MiB, above which the clients of
/// the Service do not receive the policy, less a tenth for its other contents.
pub(super) const POLICY_LIMIT: usize = (4 << 20) / 10 * 9;
