//! `skycap check`: what in a cluster would make a request not go where its sandbox says.
//!
//! The report of the compile has what is wrong with fragments; this adds what is wrong around
//! them: ports that Istio does not take for HTTP, headless targets, VirtualServices that a
//! dispatch passes by, Sidecars that hide a target, a table that is nearly full.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Service, ServicePort};
use serde_json::Value;
use skycap_core::config::Dispatch;

use crate::{
    desired::{gateway_api::HttpRoutes, istio::TABLE_LIMIT},
    objects::ObjectRef,
    problem::{Problem, Severity},
    table::{
        cluster::{Name, name_of},
        compile::Compilation,
        input::Input,
        meshes::MeshKind,
        report::{FragmentState, RouteReport},
    },
};

/// The objects around the fragments.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// All Services.
    pub services: Vec<Service>,
    /// VirtualServices, as JSON.
    pub virtual_services: Vec<Value>,
    /// Sidecars of `networking.istio.io`, as JSON.
    pub sidecars: Vec<Value>,
}

/// All that is found, sorted: the compile's own problems and those of the surroundings.
#[must_use]
pub fn check(
    input: &Input,
    compilation: &Compilation,
    surroundings: &Surroundings,
) -> Vec<Problem> {
    let meshes = input.meshes();
    let mut problems = compilation.report.problems.clone();
    problems.extend(expired(compilation));
    if meshes.has(MeshKind::Istio) {
        problems.extend(on_istio(compilation, surroundings));
    }
    if let Some(config) = compilation.config.as_ref().filter(|_| meshes.take_http_routes()) {
        let routes = HttpRoutes::new(config, &input.cluster, &input.policies, &meshes);
        problems.extend(routes.problems);
    }
    problems.sort();
    problems.dedup();
    problems
}

/// What would keep a request from its sandbox on Istio with sidecars.
fn on_istio(compilation: &Compilation, surroundings: &Surroundings) -> Vec<Problem> {
    let config = compilation.config.clone().unwrap_or_default();
    let services: BTreeMap<Name, &Service> =
        surroundings.services.iter().map(|service| (name_of(&service.metadata), service)).collect();
    let mut problems: Vec<_> = size(compilation).into_iter().collect();
    let replaced: BTreeSet<Name> = replaced(compilation);
    for name in &replaced {
        let Some(service) = services.get(name) else { continue };
        problems.extend(ports(name, service, config.dispatch));
        if config.dispatch == Dispatch::ClusterHeader {
            problems.extend(bypassed(
                name,
                &surroundings.virtual_services,
                config.cluster_domain.as_str(),
            ));
        }
    }
    for name in targets(compilation) {
        problems.extend(services.get(&name).and_then(|service| headless(&name, service)));
        problems.extend(
            surroundings
                .sidecars
                .iter()
                .filter_map(|sidecar| hidden(&name, sidecar, config.cluster_domain.as_str())),
        );
    }
    problems
}

/// The baseline Services that an active fragment replaces.
fn replaced(compilation: &Compilation) -> BTreeSet<Name> {
    active_routes(compilation)
        .map(|(namespace, route)| (namespace, route.service.clone()))
        .collect()
}

/// The Services that replace them.
fn targets(compilation: &Compilation) -> BTreeSet<Name> {
    active_routes(compilation).map(|(namespace, route)| (namespace, route.to.clone())).collect()
}

/// The routes of active fragments, each with its namespace.
fn active_routes(compilation: &Compilation) -> impl Iterator<Item = (String, &RouteReport)> {
    let active = compilation.report.fragments.iter().filter(|f| f.state == FragmentState::Active);
    active.flat_map(|fragment| {
        fragment.routes.iter().map(|route| (fragment.namespace.clone(), route))
    })
}

fn expired(compilation: &Compilation) -> impl Iterator<Item = Problem> {
    let expired = compilation.report.fragments.iter().filter(|f| f.state == FragmentState::Expired);
    expired.map(|fragment| {
        let object = ObjectRef::config_map(&fragment.namespace, &fragment.name);
        let text = "it has expired and routes nothing; delete it, or give it more time";
        Problem::of(object, Severity::Warning, "", text)
    })
}

fn size(compilation: &Compilation) -> Option<Problem> {
    let json = compilation.config.clone()?.into_json().ok()?;
    (json.len() * 10 >= TABLE_LIMIT * 8).then(|| Problem::of_table(Severity::Warning, format!(
            "it has {} of at most {TABLE_LIMIT} bytes; end sandboxes, or give targets names that \
             contain their key",
            json.len()
        )))
}

/// Ports by the protocol that Istio takes them for (istio: pkg/config/kube `ConvertProtocol`).
fn ports(name: &Name, service: &Service, dispatch: Dispatch) -> Vec<Problem> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    let judge = |port: &ServicePort| {
        let number = port.port;
        let text = match protocol(port)? {
            Protocol::Sniffed if dispatch == Dispatch::Authority => format!(
                "port {number} names no protocol, and dispatch `authority` needs one; set \
                 `appProtocol: http`, or use dispatch `cluster-header`"
            ),
            Protocol::Sniffed => return None,
            Protocol::Opaque(other) => format!(
                "port {number} is `{other}` for Istio, and the filter sees HTTP only; if it is \
                 HTTP, set `appProtocol: http`"
            ),
        };
        Some(warning("Service", name, "spec.ports", text))
    };
    ports.into_iter().flatten().filter_map(judge).collect()
}

enum Protocol {
    Sniffed,
    Opaque(String),
}

/// What is not plainly HTTP about a port.
fn protocol(port: &ServicePort) -> Option<Protocol> {
    if port.protocol.as_deref().is_some_and(|protocol| protocol != "TCP") {
        return None;
    }
    let by_name = port.name.as_deref().map(|name| name.split('-').next().unwrap_or(name));
    let declared = port.app_protocol.as_deref().or(by_name).unwrap_or_default().to_lowercase();
    let declared = declared.trim_start_matches("kubernetes.io/");
    match declared {
        "http" | "http2" | "h2c" | "grpc" | "grpc-web" | "ws" => None,
        "tcp" | "tls" | "https" | "mongo" | "redis" | "mysql" | "udp" | "wss" => {
            Some(Protocol::Opaque(declared.into()))
        }
        _ => Some(Protocol::Sniffed),
    }
}

fn headless(name: &Name, service: &Service) -> Option<Problem> {
    let address = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref());
    (address == Some("None")).then(|| {
        let text = "it is headless, and Envoy would dial the baseline's address; give the target \
                    a ClusterIP";
        warning("Service", name, "spec.clusterIP", text.into())
    })
}

/// What of a VirtualService the dispatch route passes by: it stands before all of its routes.
fn bypassed(name: &Name, virtual_services: &[Value], domain: &str) -> Vec<Problem> {
    let (namespace, service) = name;
    let names = |host: &str, own: &str| {
        (host == service && own == namespace)
            || host == format!("{service}.{namespace}")
            || host == format!("{service}.{namespace}.svc")
            || host == format!("{service}.{namespace}.svc.{domain}")
    };
    let mut problems = Vec::new();
    for virtual_service in virtual_services {
        let own = virtual_service["metadata"]["namespace"].as_str().unwrap_or("default");
        let hosts = virtual_service["spec"]["hosts"].as_array();
        let is_for = |host: &Value| host.as_str().is_some_and(|host| names(host, own));
        if !hosts.into_iter().flatten().any(is_for) {
            continue;
        }
        let routes = virtual_service["spec"]["http"].as_array();
        let fields: BTreeSet<&str> = routes
            .into_iter()
            .flatten()
            .filter_map(Value::as_object)
            .flat_map(|route| route.keys().map(String::as_str))
            .filter(|field| BYPASSED.contains(field))
            .collect();
        if !fields.is_empty() {
            let fields = fields.into_iter().collect::<Vec<_>>().join("`, `");
            let text = format!(
                "sandboxed requests for {service}.{namespace} pass by its `{fields}`: the dispatch \
                 route stands before its routes; where that matters use dispatch `header` with a \
                 route of your own"
            );
            let of = virtual_service["metadata"]["name"].as_str().unwrap_or_default();
            problems.push(warning("VirtualService", &(own.into(), of.into()), "spec.http", text));
        }
    }
    problems
}

/// A Sidecar whose egress does not name the target (istio: `networking/v1/sidecar`, `egress.hosts`).
fn hidden(target: &Name, sidecar: &Value, domain: &str) -> Option<Problem> {
    let (namespace, service) = target;
    let own = sidecar["metadata"]["namespace"].as_str().unwrap_or("default");
    let egress = sidecar["spec"]["egress"].as_array()?;
    // Only Sidecars beside the sandbox or for all: others may have no business with it.
    let in_scope = own == namespace || own == "istio-system";
    let hosts: Vec<&str> = egress
        .iter()
        .filter_map(|listener| listener["hosts"].as_array())
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let fqdn = format!("{service}.{namespace}.svc.{domain}");
    let shows = |host: &&str| {
        let (of, name) = host.split_once('/').unwrap_or(("*", host));
        let of_matches = of == "*" || of == namespace || (of == "." && own == namespace);
        let name_matches = name == "*"
            || name == fqdn
            || name.strip_prefix('*').is_some_and(|suffix| fqdn.ends_with(suffix));
        of_matches && name_matches
    };
    (in_scope && !hosts.iter().any(shows)).then(|| {
        let name = sidecar["metadata"]["name"].as_str().unwrap_or_default();
        let text = format!(
            "it hides {service}.{namespace} from its workloads, whose requests for it get a 503; \
             add `{namespace}/{fqdn}` or `{namespace}/*`"
        );
        warning("Sidecar", &(own.into(), name.into()), "spec.egress", text)
    })
}

fn warning(kind: &str, (namespace, name): &Name, field: &str, text: String) -> Problem {
    let api_version = if kind == "Service" { "v1" } else { "networking.istio.io/v1" };
    let object = ObjectRef::new(api_version, kind, namespace, name);
    Problem::of(object, Severity::Warning, field, text)
}

/// Fields of a VirtualService's route that shape a request beyond its cluster.
const BYPASSED: [&str; 9] = [
    "corsPolicy",
    "delegate",
    "directResponse",
    "fault",
    "headers",
    "mirrors",
    "redirect",
    "rewrite",
    "timeout",
];
