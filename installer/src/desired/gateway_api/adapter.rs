//! From a Service that is replaced to the HTTPRoutes of its ports, or to what keeps them from it.

use crate::table::{cluster::Name, policies::PolicyKind};
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use skycap_core::{
    config::{PluginConfig, Route, ServiceName},
    key::RoutingKey,
};

use super::{
    HttpRoutes, refusals,
    rules::{Matcher, backend},
    service_port::{POLICY_LIMIT, ServicePort, policy_bytes, prefix, routes_of},
};
use crate::{
    objects::{Object, ObjectRef},
    problem::{Problem, Severity},
    table::{
        cluster::Cluster,
        meshes::{MeshKind, Meshes},
        policies::{ForeignRoute, Policies},
    },
};

/// Goes from a Service to its ports, and from a port to its HTTPRoutes.
pub(super) struct Adapter<'a> {
    pub(super) config: &'a PluginConfig,
    pub(super) cluster: &'a Cluster,
    pub(super) policies: &'a Policies,
    pub(super) meshes: &'a Meshes,
    pub(super) matchers: Vec<Matcher>,
}

/// The keys that replace one Service, each with its routes there.
pub(super) type Keys<'a> = Vec<(RoutingKey, Vec<&'a Route>)>;

impl Adapter<'_> {
    pub(super) fn add_service(
        &self,
        service: &ServiceName,
        keys: &Keys<'_>,
        routes: &mut HttpRoutes,
    ) {
        let named: BTreeSet<u16> = keys
            .iter()
            .flat_map(|(_, routes)| routes)
            .filter_map(|r| r.port)
            .map(u16::from)
            .collect();
        let refuse = |text| self.refusal(service_object(service), service, "spec", text, keys);
        let ports = match self.cluster.service(service.namespace(), service.name()) {
            Some(facts) if facts.headless => {
                routes.problems.push(refuse(refusals::HEADLESS.into()));
                return;
            }
            Some(facts) => facts.ports.clone(),
            // The compiler has warned of a Service that is not there.
            None if self.cluster.knows_services() => return,
            None if named.is_empty() => {
                routes.problems.push(refuse(refusals::NO_PORTS.into()));
                return;
            }
            None => named.clone(),
        };
        let mut refused = Vec::new();
        let any = ports.len();
        for port in ports {
            let parent = ServicePort { service, port, names_port: true };
            match self.opaque(parent) {
                None => self.add_port(parent, keys, routes),
                Some(text) => refused.push((port, refuse(text))),
            }
        }
        // Of a Service that speaks HTTP elsewhere, nobody meant the opaque port.
        let all = refused.len() == any;
        let meant = refused.into_iter().filter(|(port, _)| all || named.contains(port));
        routes.problems.extend(meant.map(|(_, problem)| problem));
    }

    fn add_port(&self, parent: ServicePort<'_>, keys: &Keys<'_>, routes: &mut HttpRoutes) {
        let backends: Vec<_> = keys
            .iter()
            .filter_map(|(key, routes)| Some((*key, target(parent, key, routes)?)))
            .collect();
        if backends.is_empty() || self.matchers.is_empty() {
            return;
        }
        let found = match self.foreign(parent, keys, &mut routes.problems) {
            Ok(found) => found,
            Err(problem) => return routes.problems.push(problem),
        };
        for (namespace, foreign) in found {
            let Some(names_port) = self.names_port(parent, &foreign) else {
                let text = refusals::TWO_FORMS.into();
                let service = parent.service;
                let on = service_object(parent.service);
                let problem = self.refusal(on, service, "metadata", text, keys);
                routes.problems.push(problem);
                continue;
            };
            let parent = ServicePort { names_port, ..parent };
            let made = routes_of(parent, &namespace, &foreign, &self.matchers, &backends);
            let bytes: usize = made.iter().map(policy_bytes).sum();
            if bytes > POLICY_LIMIT {
                let text = refusals::too_large(bytes, POLICY_LIMIT);
                routes.problems.push(self.refusal(
                    service_object(parent.service),
                    parent.service,
                    "spec.ports",
                    text,
                    keys,
                ));
                routes.held.push((namespace, prefix(parent, parent.service.namespace())));
                continue;
            }
            for object in made {
                match self.taken(&object, parent, keys) {
                    None => routes.objects.push(object),
                    Some(problem) => routes.problems.push(problem),
                }
            }
        }
    }

    /// Whether skycap's HTTPRoutes name their port, as those of others beside them do or do not;
    /// `None` where that cannot be.
    ///
    /// Istio keeps routes of a port and routes of all ports apart, and follows only the older ones
    /// (istio: `pilot/pkg/config/kube/gateway/route_collections.go`, `routeKey`). Linkerd merges
    /// them, and before 2.18 took no notice of a change to one without a port (linkerd2#13584).
    fn names_port(&self, parent: ServicePort<'_>, foreign: &[&ForeignRoute]) -> Option<bool> {
        let ServicePort { service, port, .. } = parent;
        let named = foreign.iter().filter(|route| route.names_port(service, port)).count();
        if !self.meshes.has(MeshKind::GatewayApi) && self.is_linkerd() || named == foreign.len() {
            return Some(true);
        }
        let facts = self.cluster.service(service.namespace(), service.name());
        let is_only_port = facts.is_none_or(|facts| facts.ports.len() == 1);
        (named == 0 && is_only_port).then_some(false)
    }

    /// Others' HTTPRoutes on a port by their namespace; that of the Service is always among them.
    fn foreign(
        &self,
        parent: ServicePort<'_>,
        keys: &Keys<'_>,
        problems: &mut Vec<Problem>,
    ) -> Result<BTreeMap<String, Vec<&ForeignRoute>>, Problem> {
        let ServicePort { service, port, .. } = parent;
        let refuse = |kind: PolicyKind, name: &Name, field: &str, text: String| {
            self.refusal(kind.reference(name), service, field, text, keys)
        };
        if let Some(route) = self.policies.grpc_route(service, port) {
            let text = refusals::GRPC_ROUTE.into();
            return Err(refuse(PolicyKind::GrpcRoute, &route.name, "spec.parentRefs", text));
        }
        let domain = self.config.cluster_domain.as_str();
        if let Some(name) = self.policies.profile(service, domain).filter(|_| self.is_linkerd()) {
            return Err(refuse(PolicyKind::ServiceProfile, name, "spec", refusals::PROFILE.into()));
        }
        let mut found = BTreeMap::from([(service.namespace().to_owned(), Vec::new())]);
        for route in self.policies.http_routes(service, port) {
            if let Some((field, text)) = refusals::dropped(route).filter(|_| self.is_linkerd()) {
                // Linkerd does as if it were not there, and so does skycap.
                let problem = refuse(PolicyKind::HttpRoute, &route.name, &field, text);
                problems.push(Problem { severity: Severity::Warning, ..problem });
                continue;
            }
            if let Some((field, text)) =
                refusals::cannot_multiply(route, &self.matchers, self.is_linkerd())
            {
                return Err(refuse(PolicyKind::HttpRoute, &route.name, &field, text));
            }
            found.entry(route.name.0.clone()).or_default().push(route);
        }
        Ok(found)
    }

    /// Somebody else's HTTPRoute of the very name.
    fn taken(&self, object: &Object, parent: ServicePort<'_>, keys: &Keys<'_>) -> Option<Problem> {
        let ObjectRef { namespace, name, .. } = object.reference();
        let of = self.policies.http_route(&(namespace.unwrap_or_default(), name))?;
        let taken = PolicyKind::HttpRoute.reference(&of.name);
        let text = refusals::TAKEN.into();
        Some(self.refusal(taken, parent.service, "metadata.name", text, keys))
    }

    fn is_linkerd(&self) -> bool {
        self.meshes.has(MeshKind::Linkerd)
    }

    /// A refusal for a Service, which names whose requests it keeps from their sandbox.
    fn refusal(
        &self,
        object: ObjectRef,
        service: &ServiceName,
        field: &str,
        text: String,
        keys: &Keys<'_>,
    ) -> Problem {
        let mut names: Vec<_> = keys.iter().take(3).map(|(key, _)| format!("`{key}`")).collect();
        names.extend((keys.len() > 3).then(|| format!("{} more", keys.len() - 3)));
        let names = names.join(", ");
        let text = format!("{text}; until then {service} is not replaced for {names}");
        Problem::of(object, Severity::Refused, field, text)
    }

    fn opaque(&self, parent: ServicePort<'_>) -> Option<String> {
        let ServicePort { service, port, .. } = parent;
        let facts = self.cluster.service(service.namespace(), service.name())?;
        refusals::opaque(facts, port, self.is_linkerd())
    }
}

/// The backend of a key on a port: by the route that names the port, else the one for all ports.
/// A target that is unavailable under `fail` stays the backend, and the mesh answers with a 5xx.
fn target(parent: ServicePort<'_>, key: &RoutingKey, routes: &[&Route]) -> Option<Value> {
    let on_port = |route: &&&Route| route.port.is_some_and(|port| port.get() == parent.port);
    let route =
        routes.iter().find(on_port).or_else(|| routes.iter().find(|route| route.port.is_none()))?;
    let port = route.to_port.map_or(parent.port, u16::from);
    Some(backend(&route.to.name(key), parent.service.namespace(), port))
}

fn service_object(service: &ServiceName) -> ObjectRef {
    ObjectRef::new("v1", "Service", service.namespace(), service.name())
}
