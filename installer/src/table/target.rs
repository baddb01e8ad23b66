//! The target of a route, checked against the cluster: which port it has, and whether it is
//! available.

use std::num::NonZeroU16;

use skycap_core::{
    config::{Dispatch, Route, ServiceName, TargetPattern},
    key::RoutingKey,
};

use super::{
    availability::{OnUnavailable, Unavailable},
    cluster::Cluster,
    fragments::Fragment,
    report::RouteReport,
    routes::SandboxRoute,
};

/// One row that a fragment adds to its key.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The index of the fragment.
    pub(crate) fragment: usize,
    /// The baseline Service.
    pub(crate) service: ServiceName,
    /// Its port; `None` for every port.
    pub(crate) port: Option<NonZeroU16>,
    to: String,
    to_port: Option<NonZeroU16>,
    /// Why the target is unavailable; `None` while it is available.
    unavailable: Option<Unavailable>,
    on_unavailable: OnUnavailable,
}

impl Target {
    /// The rows of a route: one, or one for each port of the baseline if the target serves only
    /// some of them.
    pub(crate) fn resolve(
        route: &SandboxRoute,
        (index, fragment): (usize, &Fragment),
        on_unavailable: OnUnavailable,
        dispatch: Dispatch,
        cluster: &Cluster,
    ) -> Vec<Self> {
        let namespace = fragment.origin.namespace.as_str();
        // Cannot fail: the parser has checked both names.
        let Ok(service) = ServiceName::new(&route.service, namespace) else { return Vec::new() };
        let mut ports = find_ports(route, namespace, cluster);
        if dispatch == Dispatch::Authority {
            ports = ports.into_iter().map(|port| keep_port(port, &route.to)).collect();
        }
        let row = |PortMatch { port, to_port }| {
            let (to_port, unavailable) = match to_port {
                Ok(to_port) => (to_port, None),
                Err(unavailable) => (route.to_port, Some(unavailable)),
            };
            let (service, to) = (service.clone(), route.to.clone());
            Self { fragment: index, service, port, to, to_port, unavailable, on_unavailable }
        };
        ports.into_iter().map(row).collect()
    }

    /// The warning about an unavailable target. `has_next` says whether its key extends or joins
    /// other keys, in which the search for a destination continues.
    pub(crate) fn warning(&self, has_next: bool) -> String {
        let Self { service, port, to, unavailable, .. } = self;
        let why = unavailable.as_ref().map_or_else(String::new, ToString::to_string);
        let port = port.map_or_else(String::new, |port| format!(" to port {port}"));
        let effect = match (self.on_unavailable, has_next) {
            (OnUnavailable::Fail, _) => "get a 503",
            (OnUnavailable::Baseline, false) => "go to the baseline",
            (OnUnavailable::Baseline, true) => {
                "fall back to the next key (`extends`, `members`), then to the baseline"
            }
        };
        let service = service.name();
        format!("route `{service}: {to}`: requests{port} {effect}, because {why}")
    }

    /// Whether the target is unavailable now.
    pub(crate) const fn is_unavailable(&self) -> bool {
        self.unavailable.is_some()
    }

    /// The row of the report.
    pub(crate) fn report(&self) -> RouteReport {
        RouteReport {
            service: self.service.name().to_owned(),
            port: self.port,
            to: self.to.clone(),
            to_port: self.to_port,
            unavailable: self.unavailable.is_some().then_some(self.on_unavailable),
        }
    }

    /// The row of the table, under `key`.
    pub(crate) fn route(&self, key: &RoutingKey) -> Option<Route> {
        let pattern = TargetPattern::from_name(&self.to, key).ok()?;
        Some(Route {
            service: self.service.clone(),
            port: self.port,
            to: pattern,
            to_port: self.to_port,
            unavailable: self.unavailable.is_some(),
        })
    }

    /// Whether the search for a destination ends here.
    pub(crate) fn replaces(&self) -> bool {
        self.unavailable.is_none() || self.on_unavailable == OnUnavailable::Fail
    }
}

/// A port of the baseline and the target's port for it.
struct PortMatch {
    /// The baseline's port; `None` for every port.
    port: Option<NonZeroU16>,
    /// The target's port; `None` for the destination's own.
    to_port: Result<Option<NonZeroU16>, Unavailable>,
}

fn find_ports(route: &SandboxRoute, namespace: &str, cluster: &Cluster) -> Vec<PortMatch> {
    let SandboxRoute { service, port, to, to_port } = route;
    let service_name = || to.clone();
    let whole = |to_port| vec![PortMatch { port: *port, to_port }];
    let ports = cluster.ports(namespace, to);
    if ports.is_none() && cluster.knows_services() {
        let namespace = namespace.to_owned();
        return whole(Err(Unavailable::NoService { service: service_name(), namespace }));
    }
    if !cluster.is_ready(namespace, to) {
        return whole(Err(Unavailable::NotReady { service: service_name() }));
    }
    let Some(ports) = ports else { return whole(Ok(*to_port)) };
    let has = |port: NonZeroU16| ports.contains(&port.get());
    let no_such_port = |port| Err(Unavailable::NoSuchPort { service: service_name(), port });
    let only_port = match (ports.len(), ports.first()) {
        (1, Some(only)) => NonZeroU16::new(*only),
        _ => None,
    };
    let baseline = cluster.ports(namespace, service);
    match (*to_port, *port, only_port) {
        (Some(to_port), _, _) if has(to_port) => whole(Ok(Some(to_port))),
        (Some(port), _, _) => {
            whole(Err(Unavailable::WrongToPort { service: service_name(), port }))
        }
        (None, Some(port), _) if has(port) => whole(Ok(None)),
        (None, _, Some(only)) if baseline.is_some_and(|baseline| baseline == ports) => {
            whole(Ok(port.is_some().then_some(only)))
        }
        (None, _, Some(only)) => whole(Ok(Some(only))),
        (None, Some(port), None) => whole(no_such_port(port)),
        (None, None, None) if baseline.is_some_and(|baseline| baseline.is_subset(ports)) => {
            whole(Ok(None))
        }
        (None, None, None) => {
            let wanted = baseline.unwrap_or(ports).iter().filter_map(|port| NonZeroU16::new(*port));
            let find = |port| PortMatch {
                port: Some(port),
                to_port: if has(port) { Ok(None) } else { no_such_port(port) },
            };
            wanted.map(find).collect()
        }
    }
}

/// Dispatch `authority` keeps the destination's port, so the target must have the same one.
fn keep_port(found: PortMatch, service: &str) -> PortMatch {
    match (found.port, found.to_port) {
        (None, Ok(Some(to_port))) => PortMatch { port: Some(to_port), to_port: Ok(None) },
        (Some(port), Ok(Some(to_port))) if port != to_port => {
            let service = service.to_owned();
            let unavailable = Unavailable::OtherPort { service, port, to_port };
            PortMatch { port: Some(port), to_port: Err(unavailable) }
        }
        (port, to_port) => PortMatch { port, to_port },
    }
}
