//! From a replaced Service to the HTTPRoutes of its ports, or to the reason why there are none.

use std::collections::{BTreeMap, BTreeSet};

use skycap_core::config::PluginConfig;

use super::{
    HttpRoutes,
    compatibility::{check_protocol, find_dropped_filter, find_incompatibility},
    refusal::Refusal,
    replaced_service::ReplacedService,
    rules::Matcher,
    service_port::{POLICY_LIMIT, ServicePort, http_routes, name_prefix, policy_bytes},
};
use crate::{
    objects::{Object, ObjectRef},
    problem::{Problem, Severity},
    table::{
        cluster::{Cluster, ServiceFacts},
        meshes::{MeshKind, Meshes},
        policies::{ForeignRoute, Policies, PolicyKind},
    },
};

/// Adds the HTTPRoutes of one Service after another.
pub(super) struct Adapter<'a> {
    pub(super) config: &'a PluginConfig,
    pub(super) cluster: &'a Cluster,
    pub(super) policies: &'a Policies,
    pub(super) meshes: &'a Meshes,
    pub(super) matchers: Vec<Matcher>,
}

impl Adapter<'_> {
    pub(super) fn add_service(&self, service: &ReplacedService<'_>, routes: &mut HttpRoutes) {
        let named_ports = service.named_ports();
        let ports = match self.ports(service, &named_ports) {
            Ok(ports) => ports,
            Err(refusal) => return routes.problems.push(service.problem("spec", &refusal)),
        };
        let mut refused = Vec::new();
        for port in &ports {
            match self.check_protocol(service, *port) {
                Ok(()) => self.add_port(service, *port, routes),
                Err(refusal) => refused.push((*port, service.problem("spec", &refusal))),
            }
        }
        // If the Service has other ports that speak HTTP, no sandbox is meant for this one, unless
        // it names the port.
        let is_all = refused.len() == ports.len();
        let relevant = refused.into_iter().filter(|(port, _)| is_all || named_ports.contains(port));
        routes.problems.extend(relevant.map(|(_, problem)| problem));
    }

    /// The ports of a Service; none for a missing Service, about which the compiler has warned.
    fn ports(
        &self,
        service: &ReplacedService<'_>,
        named_ports: &BTreeSet<u16>,
    ) -> Result<BTreeSet<u16>, Refusal> {
        match self.facts(service) {
            Some(facts) if facts.headless => Err(Refusal::Headless),
            Some(facts) => Ok(facts.ports.clone()),
            None if self.cluster.knows_services() => Ok(BTreeSet::new()),
            None if named_ports.is_empty() => Err(Refusal::UnknownPorts),
            None => Ok(named_ports.clone()),
        }
    }

    fn check_protocol(&self, service: &ReplacedService<'_>, port: u16) -> Result<(), Refusal> {
        let facts = self.facts(service);
        facts.map_or(Ok(()), |facts| check_protocol(facts, port, self.is_linkerd()))
    }

    fn add_port(&self, service: &ReplacedService<'_>, port: u16, routes: &mut HttpRoutes) {
        if service.backends(port).is_empty() || self.matchers.is_empty() {
            return;
        }
        match self.foreign_routes(service, port, &mut routes.problems) {
            Ok(found) => {
                for (namespace, foreign) in found {
                    self.add_http_routes(service, port, &namespace, &foreign, routes);
                }
            }
            Err(problem) => routes.problems.push(problem),
        }
    }

    /// Adds the HTTPRoutes of a port in one namespace, beside those of the user there.
    fn add_http_routes(
        &self,
        service: &ReplacedService<'_>,
        port: u16,
        namespace: &str,
        foreign: &[&ForeignRoute],
        routes: &mut HttpRoutes,
    ) {
        let is_port_named = match self.is_port_named(service, port, foreign) {
            Ok(is_port_named) => is_port_named,
            Err(unnamed) => {
                let object = PolicyKind::HttpRoute.reference(&unnamed.name);
                let problem = service.problem_of(object, "spec.parentRefs", &Refusal::MixedPorts);
                return routes.problems.push(problem);
            }
        };
        let parent = ServicePort { service: service.name, port, is_port_named };
        let backends = service.backends(port);
        let objects = http_routes(parent, namespace, foreign, &self.matchers, &backends);
        let bytes: usize = objects.iter().map(policy_bytes).sum();
        if bytes > POLICY_LIMIT {
            let refusal = Refusal::PolicyTooLarge { bytes };
            routes.problems.push(service.problem("spec.ports", &refusal));
            let prefix = name_prefix(parent, service.name.namespace());
            return routes.kept.push((namespace.to_owned(), prefix));
        }
        for object in objects {
            match self.name_conflict(&object, service) {
                None => routes.objects.push(object),
                Some(problem) => routes.problems.push(problem),
            }
        }
    }

    /// Whether skycap's HTTPRoutes must name their port, to be of the same kind as those of the
    /// user beside them. If neither works, an HTTPRoute of the user that should name the port.
    ///
    /// Istio keeps routes of one port and routes of all ports apart, and applies only the older
    /// kind (istio: `pilot/pkg/config/kube/gateway/route_collections.go`, `routeKey`). Linkerd
    /// merges them, but before 2.18 it ignored changes of a route without a port (linkerd2#13584).
    fn is_port_named<'r>(
        &self,
        service: &ReplacedService<'_>,
        port: u16,
        foreign: &[&'r ForeignRoute],
    ) -> Result<bool, &'r ForeignRoute> {
        if !self.meshes.has(MeshKind::GatewayApi) && self.is_linkerd() {
            return Ok(true);
        }
        let mut unnamed = foreign.iter().filter(|route| !route.names_port(service.name, port));
        let Some(first) = unnamed.next() else { return Ok(true) };
        let is_none_named = unnamed.count() + 1 == foreign.len();
        let is_only_port = self.facts(service).is_none_or(|facts| facts.ports.len() == 1);
        if is_none_named && is_only_port { Ok(false) } else { Err(first) }
    }

    /// The user's HTTPRoutes on a port by namespace. The Service's own namespace is always
    /// included.
    fn foreign_routes(
        &self,
        service: &ReplacedService<'_>,
        port: u16,
        problems: &mut Vec<Problem>,
    ) -> Result<BTreeMap<String, Vec<&ForeignRoute>>, Problem> {
        if let Some(route) = self.policies.grpc_route(service.name, port) {
            let object = PolicyKind::GrpcRoute.reference(&route.name);
            return Err(service.problem_of(object, "spec.parentRefs", &Refusal::GrpcRoute));
        }
        let domain = self.config.cluster_domain.as_str();
        let profile = self.policies.profile(service.name, domain);
        if let Some(name) = profile.filter(|_| self.is_linkerd()) {
            let object = PolicyKind::ServiceProfile.reference(name);
            return Err(service.problem_of(object, "spec", &Refusal::ServiceProfile));
        }
        let mut by_namespace = BTreeMap::from([(service.name.namespace().to_owned(), Vec::new())]);
        for route in self.policies.http_routes(service.name, port) {
            let object = PolicyKind::HttpRoute.reference(&route.name);
            if let Some(found) = find_dropped_filter(route).filter(|_| self.is_linkerd()) {
                // Linkerd ignores the route, so skycap does not repeat it either.
                let problem = service.problem_of(object, &found.field, &found.refusal);
                problems.push(Problem { severity: Severity::Warning, ..problem });
                continue;
            }
            if let Some(found) = find_incompatibility(route, &self.matchers, self.is_linkerd()) {
                return Err(service.problem_of(object, &found.field, &found.refusal));
            }
            by_namespace.entry(route.name.0.clone()).or_default().push(route);
        }
        Ok(by_namespace)
    }

    /// The problem with an HTTPRoute of the user that has the name of one of skycap's.
    fn name_conflict(&self, object: &Object, service: &ReplacedService<'_>) -> Option<Problem> {
        let ObjectRef { namespace, name, .. } = object.reference();
        let route = self.policies.http_route(&(namespace.unwrap_or_default(), name))?;
        let object = PolicyKind::HttpRoute.reference(&route.name);
        Some(service.problem_of(object, "metadata.name", &Refusal::NameTaken))
    }

    fn facts(&self, service: &ReplacedService<'_>) -> Option<&ServiceFacts> {
        self.cluster.service(service.name.namespace(), service.name.name())
    }

    fn is_linkerd(&self) -> bool {
        self.meshes.has(MeshKind::Linkerd)
    }
}
