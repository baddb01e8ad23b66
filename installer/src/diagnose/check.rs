//! `skycap check`: what in a cluster keeps requests from the sandbox that they name.
//!
//! The report of the compile has the problems of the fragments. This module adds the problems around
//! them: ports that Istio does not treat as HTTP, headless targets, routes of others that the dispatch
//! route skips, Sidecars that hide a target, and a table that is nearly full.

mod istio;
mod pods;
mod ports;
mod queues;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Pod, Service};
use serde_json::Value;
use skycap_core::config::{Dispatch, ServiceName};

use super::scope::Scope;
use crate::{
    desired::{gateway_api::HttpRoutes, istio::TABLE_LIMIT},
    objects::ObjectRef,
    problem::{Problem, Severity},
    table::{
        cluster::{Name, name_of},
        compile::Compilation,
        input::Input,
        meshes::MeshKind,
        policies::Policies,
        report::{FragmentReport, FragmentState, RouteReport},
    },
};

/// The objects around the fragments.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// All Services.
    pub services: Vec<Service>,
    /// Istio's VirtualServices, as JSON.
    pub virtual_services: Vec<Value>,
    /// Istio's Sidecars, as JSON.
    pub sidecars: Vec<Value>,
    /// The Pods, for those without a sidecar.
    pub pods: Vec<Pod>,
    /// The Deployments and StatefulSets, as JSON, if there are queues; `None` if they are not known.
    pub workloads: Option<Vec<Value>>,
    /// Whether these are the Pods of all namespaces.
    pub has_all_pods: bool,
    /// Istio's root namespace, in which a Sidecar is for all namespaces; `None` if it is not known,
    /// and then it is the one that Istio has by default.
    pub root_namespace: Option<String>,
}

/// Finds the problems of the sandboxes in `scope`, those of the compile included. They are sorted and
/// unique.
#[must_use]
pub fn check(
    input: &Input,
    compilation: &Compilation,
    surroundings: &Surroundings,
    scope: &Scope,
) -> Vec<Problem> {
    let meshes = input.meshes();
    let compiled = compilation.report.problems.iter();
    let mut problems: Vec<_> =
        compiled.filter(|problem| scope.concerns(problem)).cloned().collect();
    problems.extend(fragments(compilation, FragmentState::Expired, scope).map(expired));
    if let Some(workloads) = &surroundings.workloads {
        problems.extend(queues::queues(&input.queues(), workloads, scope));
    }
    if meshes.has(MeshKind::Istio) {
        problems.extend(size(compilation));
        problems.extend(on_istio(&input.policies, compilation, surroundings, scope));
    }
    if let Some(config) = compilation.config.as_ref().filter(|_| meshes.take_http_routes()) {
        let routes = HttpRoutes::new(config, &input.cluster, &input.policies, &meshes);
        // A route of another namespace may be about a Service of this one: only the Service's own
        // namespace is certain.
        let concerns = |problem: &Problem| {
            let kind = problem.object.as_ref().map(|object| object.kind.as_str());
            kind != Some("Service") || scope.concerns(problem)
        };
        problems.extend(routes.problems.into_iter().filter(concerns));
    }
    problems.sort();
    problems.dedup();
    problems
}

/// The problems on Istio with sidecars.
fn on_istio(
    policies: &Policies,
    compilation: &Compilation,
    surroundings: &Surroundings,
    scope: &Scope,
) -> Vec<Problem> {
    let Surroundings { services, virtual_services, sidecars, pods, .. } = surroundings;
    let root = surroundings.root_namespace.as_deref().unwrap_or("istio-system");
    let services: BTreeMap<Name, &Service> =
        services.iter().map(|service| (name_of(&service.metadata), service)).collect();
    let config = compilation.config.clone().unwrap_or_default();
    let domain = config.cluster_domain.as_str();
    let mut problems = pods::without_sidecar(pods, scope);
    if surroundings.has_all_pods {
        problems.extend(pods::edge_without_proxies(&config.edge, pods));
    }
    for name in replaced(compilation, scope) {
        let Some(service) = services.get(&name) else { continue };
        problems.extend(ports::unroutable(&name, service, config.dispatch));
        if config.dispatch == Dispatch::ClusterHeader
            && let Ok(service) = ServiceName::new(&name.1, &name.0)
        {
            let is_guarded = config.edge.guards(&service);
            problems.extend(istio::skipped(&service, virtual_services, domain, is_guarded));
            let routes = policies.filtered_routes(&service);
            problems.extend(istio::skipped_filters(&service, &routes, is_guarded));
        }
    }
    for name in targets(compilation, scope) {
        problems.extend(services.get(&name).and_then(|service| ports::headless(&name, service)));
        problems.extend(
            sidecars.iter().filter_map(|sidecar| istio::hidden(&name, sidecar, root, domain)),
        );
    }
    problems
}

/// The baseline Services that active fragments replace.
fn replaced(compilation: &Compilation, scope: &Scope) -> BTreeSet<Name> {
    active_routes(compilation, scope)
        .map(|(namespace, route)| (namespace, route.service.clone()))
        .collect()
}

/// The Services that replace them.
fn targets(compilation: &Compilation, scope: &Scope) -> BTreeSet<Name> {
    active_routes(compilation, scope)
        .map(|(namespace, route)| (namespace, route.to.clone()))
        .collect()
}

/// The routes of active fragments, each with its namespace.
fn active_routes<'a>(
    compilation: &'a Compilation,
    scope: &'a Scope,
) -> impl Iterator<Item = (String, &'a RouteReport)> {
    fragments(compilation, FragmentState::Active, scope).flat_map(|fragment| {
        fragment.routes.iter().map(|route| (fragment.namespace.clone(), route))
    })
}

fn fragments<'a>(
    compilation: &'a Compilation,
    state: FragmentState,
    scope: &'a Scope,
) -> impl Iterator<Item = &'a FragmentReport> {
    let all = compilation.report.fragments.iter();
    all.filter(move |fragment| fragment.state == state && scope.has(&fragment.namespace))
}

fn expired(fragment: &FragmentReport) -> Problem {
    let object = ObjectRef::config_map(&fragment.namespace, &fragment.name);
    let text = "this fragment has expired and routes nothing; delete it, or extend its `ttl` or \
                `expires`";
    Problem::of(object, Severity::Warning, "", text)
}

fn size(compilation: &Compilation) -> Option<Problem> {
    let bytes = compilation.config.clone()?.into_json().ok()?.len();
    let text = format!(
        "the table uses {bytes} of {TABLE_LIMIT} bytes; delete sandboxes, or give targets names that \
         contain their key"
    );
    (bytes * 10 >= TABLE_LIMIT * 8).then(|| Problem::of_table(Severity::Warning, text))
}

fn warning(
    (api_version, kind): (&str, &str),
    (namespace, name): &Name,
    field: &str,
    text: impl std::fmt::Display,
) -> Problem {
    let object = ObjectRef::new(api_version, kind, namespace, name);
    Problem::of(object, Severity::Warning, field, text)
}
