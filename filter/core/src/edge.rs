//! The edge: the proxies that a request from outside passes first, and which keys they accept.
//!
//! Anybody outside can write a key into a request. An edge drops each key that the settings do not
//! list: the key has no effect at this hop, and it is removed from every carrier that services pass on,
//! so that it has none behind this hop either. A listed key is written as one clean member. Members and
//! headers of others stay as they are.
//!
//! Cookies, query parameters and hosts are what browsers send, and Envoy's own tracer writes a
//! `tracestate` back that the filter has cleaned. So these are read only at an edge. Inside the mesh the
//! key travels in the carrier that the edge wrote.

mod clean;
mod workload;

use core::{fmt, str::FromStr};

pub(crate) use self::clean::clean;
pub use self::workload::{Labels, Workload};
use crate::{
    carrier::{Carrier, HostPattern, Source},
    invalid_value::InvalidValue,
    key::{InvalidKey, RoutingKey},
    names::ServiceName,
    serde_as_text::serde_as_text,
};

/// Which proxies are the edge, and which keys from outside they accept.
///
/// In JSON it is one text, whose reader takes less room in the module than that of an object: the edge's
/// proxies, the keys with `accept:`, the hosts with `host:` and the guarded Services with `guard:`, as in
/// `gateways app=nginx accept:demo-* host:{key}.preview.example.com guard:cart.shop`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edge {
    /// The proxies that are an edge. If the list is empty, every proxy accepts every key.
    pub workloads: Vec<Workload>,
    /// The keys that are accepted; by default none.
    pub accept: Vec<KeyPattern>,
    /// Hosts that contain a key. They are read first, and only at an edge.
    pub hosts: Vec<HostPattern>,
    /// The Services to which a gateway's own route leads with a policy, such as an operation on
    /// headers. The dispatch would skip it, so a request goes to the baseline of this hop.
    pub guard: Guard,
}

impl Edge {
    /// Whether no proxy is an edge.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.workloads.is_empty()
    }

    /// Whether a proxy is an edge. `label` returns the value of one of its labels.
    #[must_use]
    pub fn includes(&self, is_gateway: bool, label: impl Fn(&str) -> Option<Vec<u8>>) -> bool {
        let has = |name: &str, value: &str| label(name).as_deref() == Some(value.as_bytes());
        self.workloads.iter().any(|workload| match workload {
            Workload::Gateways => is_gateway && !has("istio", "egressgateway"),
            Workload::Labels(labels) => labels.iter().all(|(name, value)| has(name, value)),
        })
    }

    /// Whether `key` has an effect if it comes from outside.
    // Not inlined, as the next one: their code would be set up for every request inside the mesh.
    #[inline(never)]
    pub(crate) fn accepts(&self, key: &RoutingKey) -> bool {
        self.accept.iter().any(|pattern| pattern.matches(key))
    }

    /// Whether a request to `service` keeps the gateway's own route.
    #[inline(never)]
    #[must_use]
    pub fn guards(&self, service: &ServiceName) -> bool {
        match &self.guard {
            Guard::Services(services) => services.contains(service),
            Guard::All => true,
        }
    }

    /// The carriers of `configured` that a proxy reads: at an edge all of them behind the hosts,
    /// inside the mesh those that services pass on.
    pub(crate) fn carriers(&self, configured: &[Carrier], at_edge: bool) -> Vec<Carrier> {
        let mut carriers = Vec::new();
        if at_edge {
            for host in &self.hosts {
                carriers.push(Carrier { source: Source::Host(host.clone()), inject: false });
            }
        }
        for carrier in configured {
            if at_edge || self.is_open() || carrier.source.is_passed_on() {
                carriers.push(carrier.clone());
            }
        }
        if carriers.is_empty() {
            carriers.push(Carrier::default());
        }
        carriers
    }
}

impl FromStr for Edge {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let mut edge = Self::default();
        for item in text.split_ascii_whitespace() {
            if let Some(key) = item.strip_prefix("accept:") {
                edge.accept.push(key.parse()?);
            } else if let Some(host) = item.strip_prefix("host:") {
                edge.hosts.push(host.parse()?);
            } else if let Some(service) = item.strip_prefix("guard:") {
                edge.guard.add(service)?;
            } else {
                edge.workloads.push(item.parse()?);
            }
        }
        Ok(edge)
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workloads = self.workloads.iter().map(ToString::to_string);
        let accept = self.accept.iter().map(|key| format!("accept:{key}"));
        let hosts = self.hosts.iter().map(|host| format!("host:{host}"));
        let guarded: Vec<String> = match &self.guard {
            Guard::Services(services) => services.iter().map(|s| format!("guard:{s}")).collect(),
            Guard::All => vec!["guard:*".into()],
        };
        let items: Vec<_> = workloads.chain(accept).chain(hosts).chain(guarded).collect();
        f.write_str(&items.join(" "))
    }
}

/// The Services that keep the gateway's own route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// These.
    Services(Vec<ServiceName>),
    /// All, because there are too many to list.
    All,
}

impl Guard {
    fn add(&mut self, text: &str) -> Result<(), InvalidValue> {
        if text == "*" {
            *self = Self::All;
        } else if let Self::Services(services) = self {
            let expected = "a Service as `NAME.NAMESPACE`, or `*`";
            services.push(text.parse().map_err(|_| InvalidValue::new(text, expected))?);
        }
        Ok(())
    }
}

impl Default for Guard {
    fn default() -> Self {
        Self::Services(Vec::new())
    }
}

/// A routing key, or the start of one and `*`, which stands for any rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPattern(String);

impl KeyPattern {
    fn matches(&self, key: &RoutingKey) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => key.as_str().starts_with(start),
            None => key.as_str() == self.0,
        }
    }
}

impl FromStr for KeyPattern {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let start = text.strip_suffix('*');
        match RoutingKey::parse(start.unwrap_or(text).as_bytes()) {
            Err(InvalidKey::Empty) if start.is_some() => Ok(Self(text.into())),
            Ok(_) => Ok(Self(text.into())),
            Err(_) => Err(InvalidValue::new(
                text,
                "a routing key (1 to 64 of `A-Z a-z 0-9 . _ ~ -`), or the start of one and `*`",
            )),
        }
    }
}

impl fmt::Display for KeyPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The attribute that the filter of a gateway sets on a request that it has seen. In Envoy it is the
/// filter state `wasm.skycap_edge_closed`.
pub const EDGE_CLOSED: &str = "skycap_edge_closed";

serde_as_text!(Edge, KeyPattern);
