//! The decision: where one request goes, and why.

use std::{borrow::Cow, num::NonZeroU16};

use crate::{
    baggage,
    carrier::{Carrier, DEFAULT_MEMBER, Source},
    config::Route,
    destination::Destination,
    dispatch::{CLUSTER_HEADER, Dispatch, SANDBOX_HEADER},
    edge,
    effect::{CarrierEdit, Effect, HeaderEdit, LocalResponse},
    key::RoutingKey,
    reason::{Drops, Reason},
    request::Request,
    table::Table,
};

/// Decides where `request` goes.
///
/// It reads from `request` only what the decision needs (law 6).
#[must_use]
pub fn decide<'t>(table: &'t Table, request: &impl Request) -> Decision<'t> {
    let config = table.config();
    let mut decision = Decision::new(table);
    if config.dispatch.owned_header().is_some_and(|name| request.has_header(name)) {
        decision.drops.add(Reason::ForgedDispatch);
        decision.forged = true;
    }
    decision.reason = if config.enabled { decision.search(request) } else { Reason::Disabled };
    decision
}

/// The decision on one request, with everything that led to it.
#[derive(Debug)]
pub struct Decision<'t> {
    table: &'t Table,
    /// The outcome.
    pub reason: Reason,
    /// The values that were dropped.
    pub drops: Drops,
    /// The key, and the carrier that contained it.
    pub key: Option<(RoutingKey, &'t Carrier)>,
    /// The baseline Service and port. It is read only if the key is known.
    pub destination: Option<Destination>,
    /// The route for the key and the destination.
    pub route: Option<&'t Route>,
    /// Whether the request may ask for an explanation, and does. The caller sets it.
    pub explained: bool,
    /// Whether the client sent the dispatch header.
    forged: bool,
    /// The new value of the request's `baggage`.
    baggage: Option<Vec<u8>>,
}

impl<'t> Decision<'t> {
    const fn new(table: &'t Table) -> Self {
        Self {
            table,
            reason: Reason::NoKey,
            drops: Drops::NONE,
            key: None,
            destination: None,
            route: None,
            explained: false,
            forged: false,
            baggage: None,
        }
    }

    /// The table that was used.
    #[must_use]
    pub const fn table(&self) -> &'t Table {
        self.table
    }

    /// The name (`cart-pr-1.shop`) and the port of the target, if there is a route.
    #[must_use]
    pub fn target(&self) -> Option<(String, u16)> {
        let (route, (key, _)) = (self.route?, self.key.as_ref()?);
        let port = self.destination.as_ref()?.port();
        let name = [&route.to.name(key), ".", route.service.namespace()].concat();
        Some((name, route.to_port.map_or(port, NonZeroU16::get)))
    }

    /// The changes to the request, which the caller applies.
    #[must_use]
    pub fn effect(&self) -> Effect {
        let owned_header = self.table.config().dispatch.owned_header();
        let removed = || owned_header.filter(|_| self.forged).map(HeaderEdit::Remove);
        // Most requests have another reason. Matching it first saves them both calls.
        let (edit, response) = match self.reason {
            Reason::Routed => (self.dispatch_edit(), None),
            Reason::Unavailable => (None, self.local_response()),
            _ => (None, None),
        };
        Effect { dispatch: edit.or_else(removed), baggage: self.baggage.clone(), response }
    }

    /// At an [edge](Table::is_edge): the edits that remove the keys from outside, and write the
    /// accepted one. The caller applies them before the [effect](Self::effect). None inside the mesh.
    #[must_use]
    pub fn edge_edits(&mut self, request: &impl Request) -> Vec<CarrierEdit> {
        if !self.table.is_edge() {
            return Vec::new();
        }
        let carriers = &self.table.config().carriers;
        let key = self.key.as_ref().map(|(key, carrier)| (key, *carrier));
        edge::clean(carriers, key, request, &mut self.drops)
    }

    fn local_response(&self) -> Option<LocalResponse> {
        let (key, _) = self.key.as_ref()?;
        let target = if self.explained { self.target() } else { None };
        Some(LocalResponse::unavailable(key, target))
    }

    fn search(&mut self, request: &impl Request) -> Reason {
        // Two copies of the loop, so that inside the mesh it is the one without a condition.
        let is_edge = self.table.is_edge();
        let found = if is_edge {
            self.read_accepted_key(request)
        } else {
            self.read_key(request, |_| true)
        };
        let Some((key, carrier)) = found else {
            return Reason::NoKey;
        };
        self.key = Some((key, carrier));
        let Some(routes) = self.table.find(&key) else {
            return Reason::UnknownKey;
        };
        // An edge writes every accepted key by itself.
        if carrier.inject && !is_edge {
            self.inject(request, &key);
        }
        let destination = match self.read_destination(request) {
            Ok(destination) => self.destination.insert(destination),
            Err(reason) => return reason,
        };
        self.route = routes.find(destination);
        self.route.map_or(Reason::NotReplaced, |route| self.judge(route))
    }

    fn judge(&self, route: &Route) -> Reason {
        let port = self.destination.as_ref().map(Destination::port);
        let other_port = route.to_port.is_some_and(|to| Some(to.get()) != port);
        match self.table.config().dispatch {
            _ if self.table.guards(&route.service) => Reason::EdgePolicy,
            _ if route.unavailable => Reason::Unavailable,
            Dispatch::Authority if other_port => Reason::PortMismatch,
            _ => Reason::Routed,
        }
    }

    #[cold]
    fn read_accepted_key(&mut self, request: &impl Request) -> Option<(RoutingKey, &'t Carrier)> {
        let edge = &self.table.config().edge;
        self.read_key(request, |key| edge.accepts(key))
    }

    /// The key of the first carrier that has one which is accepted.
    #[inline(always)]
    fn read_key(
        &mut self,
        request: &impl Request,
        accepts: impl Fn(&RoutingKey) -> bool,
    ) -> Option<(RoutingKey, &'t Carrier)> {
        // Neighboring carriers often share a header, and reading a header may be expensive.
        let mut last: Option<(&str, Option<Cow<'_, [u8]>>)> = None;
        for carrier in self.table.carriers() {
            let header = carrier.source.header();
            let value = match &last {
                Some((name, value)) if *name == header => value,
                _ => &last.insert((header, request.header(header))).1,
            };
            let Some(value) = value else { continue };
            match carrier.source.find(value).into_result() {
                Ok(key) if accepts(&key) => return Some((key, carrier)),
                Ok(_) => self.drops.add(Reason::NotAccepted),
                Err(Some(reason)) => self.drops.add(reason),
                Err(None) => {}
            }
        }
        None
    }

    fn read_destination(&self, request: &impl Request) -> Result<Destination, Reason> {
        let domain = &self.table.config().cluster_domain;
        // With a forged dispatch header, the client has chosen the cluster, and Envoy does not
        // update the attribute when the header is removed. The virtual host is not affected.
        let (name, parse): (_, fn(_, &_) -> _) = if self.forged {
            (request.virtual_host_name(), Destination::from_virtual_host)
        } else {
            (request.cluster_name(), Destination::from_cluster)
        };
        let name = name.filter(|name| !name.is_empty()).ok_or(Reason::NoDestination)?;
        parse(name, domain).ok_or(Reason::ForeignDestination)
    }

    fn inject(&mut self, request: &impl Request, key: &RoutingKey) {
        let carriers = &self.table.config().carriers;
        let member = carriers.iter().find_map(|carrier| match &carrier.source {
            Source::Baggage(name) => Some(name.as_str()),
            _ => None,
        });
        let member = member.unwrap_or(DEFAULT_MEMBER);
        let list = request.header("baggage").unwrap_or_default();
        if baggage::find(&list, member).into_result() == Ok(*key) {
            return;
        }
        self.baggage = baggage::insert(&list, member, key);
        if self.baggage.is_none() {
            self.drops.add(Reason::InjectionTooLong);
        }
    }

    fn dispatch_edit(&self) -> Option<HeaderEdit> {
        let (route, (key, _)) = (self.route?, self.key.as_ref()?);
        let port = self.destination.as_ref()?.port();
        let config = self.table.config();
        Some(match config.dispatch {
            Dispatch::Authority => {
                HeaderEdit::set(":authority", &host(route, key, config.cluster_domain.as_str()))
            }
            Dispatch::ClusterHeader => {
                let port = route.to_port.map_or(port, NonZeroU16::get).to_string();
                let host = host(route, key, config.cluster_domain.as_str());
                let name: [&[&str]; 2] = [&["outbound|", &port, "||"], &host];
                HeaderEdit::set(CLUSTER_HEADER, &name.concat())
            }
            Dispatch::Header => HeaderEdit::set(SANDBOX_HEADER, &[key.as_str()]),
        })
    }
}

/// Returns the parts of the target's host: `cart-pr-1.shop.svc.cluster.local`.
fn host<'a>(route: &'a Route, key: &'a RoutingKey, domain: &'a str) -> [&'a str; 7] {
    let [before, key, after] = route.to.parts(key);
    [before, key, after, ".", route.service.namespace(), ".svc.", domain]
}
