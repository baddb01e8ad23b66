//! The destination: the baseline Service and port that Envoy picked.

use core::{fmt, ops::Range, str};

use crate::names::{ClusterDomain, ServiceName};

/// The baseline Service and port that Envoy picked before skycap looked.
///
/// It holds the bytes that the host gave, and knows where the Service stands in them.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    text: Vec<u8>,
    /// `cart.shop` of `outbound|80||cart.shop.svc.cluster.local`.
    service: Range<usize>,
    port: u16,
}

impl Destination {
    /// Reads a cluster's name as istiod writes it: `outbound|80|v1|cart.shop.svc.cluster.local`.
    ///
    /// The subset is skipped: it names pods of the baseline's DestinationRule, which the target
    /// does not have (istio: pilot/pkg/model `BuildSubsetKey`).
    #[must_use]
    pub fn from_cluster(name: Vec<u8>, domain: &ClusterDomain) -> Option<Self> {
        let mut parts = name.splitn(4, |byte| *byte == b'|');
        let outbound = parts.next()? == b"outbound";
        let port = parse_port(parts.next()?)?;
        let host = parts.nth(1).filter(|_| outbound)?;
        let start = name.len().checked_sub(host.len())?;
        let end = start.checked_add(service_bytes(host, domain)?)?;
        Some(Self { service: start..end, port, text: name })
    }

    /// Reads a virtual host's name as istiod writes it: `cart.shop.svc.cluster.local:80`.
    #[must_use]
    pub fn from_virtual_host(name: Vec<u8>, domain: &ClusterDomain) -> Option<Self> {
        let colon = name.iter().rposition(|byte| *byte == b':')?;
        let (host, port) = name.split_at_checked(colon)?;
        let port = parse_port(port.get(1..)?)?;
        let end = service_bytes(host, domain)?;
        Some(Self { service: 0..end, port, text: name })
    }

    /// The port of the Service that was dialled.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The Service with its namespace, as `cart.shop`.
    #[must_use]
    pub fn service(&self) -> &str {
        str::from_utf8(self.bytes()).unwrap_or_default()
    }

    /// Whether this is a destination at `service`.
    pub(crate) fn is(&self, service: &ServiceName) -> bool {
        self.bytes() == service.as_str().as_bytes()
    }

    fn bytes(&self) -> &[u8] {
        self.text.get(self.service.clone()).unwrap_or_default()
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service(), self.port)
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// How many bytes of `host` are `name.namespace`, when it is a Service of this cluster.
fn service_bytes(host: &[u8], domain: &ClusterDomain) -> Option<usize> {
    let service = host
        .strip_suffix(domain.as_str().as_bytes())
        .and_then(|host| host.strip_suffix(b".svc."))?;
    // A name of Kubernetes and no other: it goes into the decision header as it stands.
    let plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    (service.contains(&b'.') && service.iter().all(plain)).then_some(service.len())
}

fn parse_port(digits: &[u8]) -> Option<u16> {
    str::from_utf8(digits).ok()?.parse().ok()
}
