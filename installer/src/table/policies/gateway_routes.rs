//! The routes of VirtualServices at gateways, by whether they have a policy of their own.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use skycap_core::config::ServiceName;

use crate::table::cluster::Name;

/// What of a VirtualService matters at a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GatewayRoutes {
    /// Whether it has no hosts: then another VirtualService delegates to it, perhaps at a gateway.
    is_delegate: bool,
    /// The hosts to which its routes with a policy lead.
    guarded: BTreeSet<String>,
    /// The hosts to which all of its routes lead.
    all: BTreeSet<String>,
    /// The VirtualServices to which its routes with a policy delegate.
    delegates: BTreeSet<Name>,
}

impl GatewayRoutes {
    /// `None` if the VirtualService is for sidecars only.
    pub(super) fn of((namespace, _): &Name, spec: &Value) -> Option<Self> {
        let list = |field: &str| spec[field].as_array().into_iter().flatten();
        let is_delegate = list("hosts").next().is_none();
        if !is_delegate && !list("gateways").any(|gateway| gateway != "mesh") {
            return None;
        }
        let mut routes = Self {
            is_delegate,
            guarded: BTreeSet::new(),
            all: BTreeSet::new(),
            delegates: BTreeSet::new(),
        };
        for route in list("http") {
            let hosts: Vec<_> = destinations(route).collect();
            routes.all.extend(hosts.iter().cloned());
            if !has_policy(route) {
                continue;
            }
            routes.guarded.extend(hosts);
            let delegate = &route["delegate"];
            if let Some(name) = delegate["name"].as_str() {
                let namespace = delegate["namespace"].as_str().unwrap_or(namespace);
                routes.delegates.insert((namespace.to_owned(), name.to_owned()));
            }
        }
        Some(routes)
    }
}

/// The Services to which these routes lead with a policy.
pub(super) fn guarded(
    routes: &BTreeMap<Name, GatewayRoutes>,
    domain: &str,
) -> BTreeSet<ServiceName> {
    let mut services = BTreeSet::new();
    for ((namespace, _), of) in routes {
        services.extend(of.guarded.iter().filter_map(|host| service_of(host, namespace, domain)));
        for name in &of.delegates {
            let delegate = routes.get(name).filter(|delegate| delegate.is_delegate);
            let hosts = delegate.into_iter().flat_map(|delegate| &delegate.all);
            services.extend(hosts.filter_map(|host| service_of(host, &name.0, domain)));
        }
    }
    services
}

fn destinations(route: &Value) -> impl Iterator<Item = String> {
    let routes = route["route"].as_array().into_iter().flatten();
    routes.filter_map(|to| to["destination"]["host"].as_str()).map(str::to_owned)
}

fn has_policy(route: &Value) -> bool {
    let to = route["route"].as_array().into_iter().flatten();
    POLICY_FIELDS.iter().any(|field| !route[*field].is_null())
        || to.into_iter().any(|to| !to["headers"].is_null())
}

/// The Service of a host, in any of the forms that Istio takes; `namespace` is that of a short name.
pub(crate) fn service_of(host: &str, namespace: &str, domain: &str) -> Option<ServiceName> {
    let bare = host.strip_suffix(&format!(".svc.{domain}")).or_else(|| host.strip_suffix(".svc"));
    // `cart.svc` is the Service `cart` in the namespace `svc`.
    let bare = bare.filter(|bare| bare.contains('.'));
    let (name, namespace) = bare.unwrap_or(host).split_once('.').unwrap_or((host, namespace));
    ServiceName::new(name, namespace).ok()
}

/// The fields of a route that change or answer a request. `timeout` and `retries` only shape it.
pub(crate) const POLICY_FIELDS: [&str; 8] = [
    "corsPolicy",
    "directResponse",
    "fault",
    "headers",
    "mirror",
    "mirrors",
    "redirect",
    "rewrite",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::{GatewayRoutes, ServiceName, guarded};

    fn to(host: &str) -> Value {
        json!([{"destination": {"host": host}}])
    }

    #[test]
    fn services_behind_a_policy_at_a_gateway_are_guarded() {
        let remove = json!({"request": {"remove": ["x-user-id"]}});
        let entry = json!({
            "hosts": ["shop.example.com"], "gateways": ["entry"],
            "http": [
                {"headers": remove, "route": to("cart")},
                {"rewrite": {"uri": "/"}, "route": to("pricing.shop.svc.cluster.local")},
                {"timeout": "3s", "route": to("quick")},
                {"route": [{"destination": {"host": "login.iam"}, "headers": remove}]},
                {"corsPolicy": {}, "delegate": {"name": "behind"}},
                {"delegate": {"name": "free"}},
                {"fault": {}, "route": to("www.example.com")},
            ],
        });
        let behind = json!({"http": [{"route": to("assets")}]});
        let free = json!({"http": [{"route": to("open")}, {"mirror": {}, "route": to("copied")}]});
        let in_mesh = json!({"hosts": ["cart"], "http": [{"headers": {}, "route": to("inner")}]});
        let routes = [("entry", &entry), ("behind", &behind), ("free", &free), ("mesh", &in_mesh)];
        let routes: BTreeMap<_, _> = routes
            .into_iter()
            .map(|(name, spec)| (("shop".to_owned(), name.to_owned()), spec))
            .filter_map(|(name, spec)| Some((name.clone(), GatewayRoutes::of(&name, spec)?)))
            .collect();
        let found = guarded(&routes, "cluster.local");
        let found: Vec<_> = found.iter().map(ServiceName::as_str).collect();
        assert_eq!(found, ["assets.shop", "cart.shop", "copied.shop", "login.iam", "pricing.shop"]);
    }
}
