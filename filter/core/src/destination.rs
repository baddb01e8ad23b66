//! The destination: the baseline Service and port that Envoy selected.

use core::{fmt, ops::Range, str};

use crate::names::{ClusterDomain, ServiceName};

/// The baseline Service and port that Envoy selected before the filter ran.
///
/// It keeps the bytes that Envoy returned, and the range of the Service in them, to avoid a copy.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    text: Vec<u8>,
    /// The range of `cart.shop` in `outbound|80||cart.shop.svc.cluster.local`.
    service: Range<usize>,
    port: u16,
}

impl Destination {
    /// Reads the name of a cluster, as istiod writes it:
    /// `outbound|80|v1|cart.shop.svc.cluster.local` (istio: pilot/pkg/model `BuildSubsetKey`).
    ///
    /// The subset `v1` is ignored: it is defined in the baseline's DestinationRule and does not
    /// exist for the target. Returns `None` if the name is not that of a Service in `domain`.
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

    /// Reads the name of a virtual host, as istiod writes it: `cart.shop.svc.cluster.local:80`.
    ///
    /// Returns `None` if the name is not that of a Service in `domain`.
    #[must_use]
    pub fn from_virtual_host(name: Vec<u8>, domain: &ClusterDomain) -> Option<Self> {
        let colon = name.iter().rposition(|byte| *byte == b':')?;
        let (host, port) = name.split_at_checked(colon)?;
        let port = parse_port(port.get(1..)?)?;
        let end = service_bytes(host, domain)?;
        Some(Self { service: 0..end, port, text: name })
    }

    /// The port of the Service, from 0 to 65535.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The Service and its namespace: `cart.shop`.
    #[must_use]
    pub fn service(&self) -> &str {
        str::from_utf8(self.bytes()).unwrap_or_default()
    }

    /// Whether the destination is a port of `service`.
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

/// Returns the length of `name.namespace` at the start of `host`, if `host` is a Service of this
/// Kubernetes cluster.
fn service_bytes(host: &[u8], domain: &ClusterDomain) -> Option<usize> {
    let service = host
        .strip_suffix(domain.as_str().as_bytes())
        .and_then(|host| host.strip_suffix(b".svc."))?;
    // Other bytes are rejected, because the decision header contains the name unescaped.
    let plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    (service.contains(&b'.') && service.iter().all(plain)).then_some(service.len())
}

fn parse_port(digits: &[u8]) -> Option<u16> {
    str::from_utf8(digits).ok()?.parse().ok()
}
