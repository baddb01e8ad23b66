//! The objects of other owners that route the requests of Services: those of a mesh of the Gateway
//! API, and on Istio the routes of gateways.

mod foreign_route;
mod gateway_routes;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use kube::{Resource as _, core::DynamicObject};
use skycap_core::config::ServiceName;

use self::gateway_routes::GatewayRoutes;
pub(crate) use self::{
    foreign_route::ForeignRoute,
    gateway_routes::{POLICY_FIELDS, service_of},
};
use super::{
    cluster::{Name, name_of},
    meshes::{MeshKind, Meshes},
};
use crate::objects::{self, ObjectRef};

/// The HTTPRoutes, GRPCRoutes and ServiceProfiles that skycap does not own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policies {
    http_routes: BTreeMap<Name, Arc<ForeignRoute>>,
    grpc_routes: BTreeMap<Name, Arc<ForeignRoute>>,
    /// The ServiceProfiles with routes or overrides. They take precedence over all HTTPRoutes
    /// (linkerd2-proxy: `linkerd/proxy/client-policy`, `should_override_policy`).
    profiles: BTreeSet<Name>,
    /// The VirtualServices of gateways.
    gateway_routes: BTreeMap<Name, GatewayRoutes>,
}

/// A kind of policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// `gateway.networking.k8s.io` HTTPRoute.
    HttpRoute,
    /// `gateway.networking.k8s.io` GRPCRoute.
    GrpcRoute,
    /// `linkerd.io` ServiceProfile.
    ServiceProfile,
    /// `networking.istio.io` VirtualService.
    VirtualService,
}

impl PolicyKind {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::HttpRoute, Self::GrpcRoute, Self::ServiceProfile, Self::VirtualService];

    /// The kinds that these meshes route by.
    #[must_use]
    pub fn on(meshes: &Meshes) -> Vec<Self> {
        let is_used = |kind: &Self| match kind {
            // On Istio, those of Gateways.
            Self::HttpRoute | Self::GrpcRoute => {
                meshes.take_http_routes() || meshes.has(MeshKind::Istio)
            }
            Self::ServiceProfile => meshes.has(MeshKind::Linkerd),
            Self::VirtualService => meshes.has(MeshKind::Istio),
        };
        Self::ALL.into_iter().filter(is_used).collect()
    }

    /// Its API version and kind.
    #[must_use]
    pub const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::HttpRoute => ("gateway.networking.k8s.io/v1", "HTTPRoute"),
            Self::GrpcRoute => ("gateway.networking.k8s.io/v1", "GRPCRoute"),
            Self::ServiceProfile => ("linkerd.io/v1alpha2", "ServiceProfile"),
            Self::VirtualService => ("networking.istio.io/v1", "VirtualService"),
        }
    }

    /// An object of this kind.
    #[must_use]
    pub(crate) fn reference(self, (namespace, name): &Name) -> ObjectRef {
        let (api_version, kind) = self.names();
        ObjectRef::new(api_version, kind, namespace, name)
    }

    /// The kind of an object; `None` if no mesh routes by it.
    #[must_use]
    pub fn of(object: &DynamicObject) -> Option<Self> {
        let types = object.types.as_ref()?;
        // The fields that are read here are the same in the versions before v1.
        let group = |version: &str| version.split('/').next().unwrap_or_default().to_owned();
        Self::ALL.into_iter().find(|kind| {
            let (version, name) = kind.names();
            types.kind == name && group(&types.api_version) == group(version)
        })
    }
}

impl Policies {
    /// Adds or replaces an object; returns whether that changes anything. An object that skycap owns
    /// is removed instead.
    pub fn put(&mut self, kind: PolicyKind, object: &DynamicObject) -> bool {
        if objects::is_owned(object) {
            return self.remove(kind, object);
        }
        let name = name_of(object.meta());
        if kind == PolicyKind::VirtualService {
            return match GatewayRoutes::of(&name, &object.data["spec"]) {
                Some(new) => self.gateway_routes.insert(name, new.clone()).as_ref() != Some(&new),
                None => self.gateway_routes.remove(&name).is_some(),
            };
        }
        let Some(routes) = self.routes_mut(kind) else {
            let spec = &object.data["spec"];
            let is_there =
                |field: &str| spec[field].as_array().is_some_and(|list| !list.is_empty());
            return if is_there("routes") || is_there("dstOverrides") {
                self.profiles.insert(name)
            } else {
                self.profiles.remove(&name)
            };
        };
        let route = Arc::new(ForeignRoute::of(object));
        routes.insert(name, route.clone()).as_ref() != Some(&route)
    }

    /// Removes an object; returns whether it was there.
    pub fn remove(&mut self, kind: PolicyKind, object: &DynamicObject) -> bool {
        let name = name_of(object.meta());
        match self.routes_mut(kind) {
            Some(routes) => routes.remove(&name).is_some(),
            None if kind == PolicyKind::VirtualService => {
                self.gateway_routes.remove(&name).is_some()
            }
            None => self.profiles.remove(&name),
        }
    }

    /// Removes all objects of a kind except these; returns whether that changes anything.
    pub fn retain(&mut self, kind: PolicyKind, names: &HashSet<Name>) -> bool {
        let before = self.clone();
        match self.routes_mut(kind) {
            Some(routes) => routes.retain(|name, _| names.contains(name)),
            None if kind == PolicyKind::VirtualService => {
                self.gateway_routes.retain(|name, _| names.contains(name));
            }
            None => self.profiles.retain(|name| names.contains(name)),
        }
        *self != before
    }

    /// The Services to which a route of a gateway leads with a policy of its own.
    pub(crate) fn guarded(&self, domain: &str) -> BTreeSet<ServiceName> {
        let mut services = gateway_routes::guarded(&self.gateway_routes, domain);
        let routes = self.http_routes.values().chain(self.grpc_routes.values());
        services.extend(routes.flat_map(|route| route.guarded.iter().cloned()));
        services
    }

    /// The HTTPRoutes and GRPCRoutes of Gateways that lead to this Service with a filter.
    pub(crate) fn filtered_routes(&self, service: &ServiceName) -> Vec<ObjectRef> {
        let of = |kind: PolicyKind, routes: &BTreeMap<Name, Arc<ForeignRoute>>| {
            let guarding = routes.values().filter(|route| route.guarded.contains(service));
            guarding.map(|route| kind.reference(&route.name)).collect::<Vec<_>>()
        };
        let http = of(PolicyKind::HttpRoute, &self.http_routes);
        http.into_iter().chain(of(PolicyKind::GrpcRoute, &self.grpc_routes)).collect()
    }

    /// The HTTPRoutes of a Service's port, the oldest first: the order that decides between matches
    /// of equal rank (Gateway API, `HTTPRouteRule.matches`: by creation time, then by name).
    pub(crate) fn http_routes(&self, service: &ServiceName, port: u16) -> Vec<&ForeignRoute> {
        let mut routes: Vec<_> = self
            .http_routes
            .values()
            .map(Arc::as_ref)
            .filter(|r| r.is_for(service, port))
            .collect();
        routes.sort_by(|a, b| (&a.created, &a.name.1).cmp(&(&b.created, &b.name.1)));
        routes
    }

    /// A GRPCRoute of a Service's port, which disables its HTTPRoutes (GEP-1426).
    pub(crate) fn grpc_route(&self, service: &ServiceName, port: u16) -> Option<&ForeignRoute> {
        self.grpc_routes.values().map(Arc::as_ref).find(|route| route.is_for(service, port))
    }

    /// A ServiceProfile of a Service.
    pub(crate) fn profile(&self, service: &ServiceName, domain: &str) -> Option<&Name> {
        let host = format!("{service}.svc.{domain}");
        self.profiles.iter().find(|(_, name)| *name == host)
    }

    /// The HTTPRoute of this name, if skycap does not own it.
    pub(crate) fn http_route(&self, name: &Name) -> Option<&ForeignRoute> {
        self.http_routes.get(name).map(Arc::as_ref)
    }

    fn routes_mut(&mut self, kind: PolicyKind) -> Option<&mut BTreeMap<Name, Arc<ForeignRoute>>> {
        match kind {
            PolicyKind::HttpRoute => Some(&mut self.http_routes),
            PolicyKind::GrpcRoute => Some(&mut self.grpc_routes),
            PolicyKind::ServiceProfile | PolicyKind::VirtualService => None,
        }
    }
}
