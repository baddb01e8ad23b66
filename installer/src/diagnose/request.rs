//! The request that `explain` is asked about, as the sidecar of its sender sees it.

use std::{borrow::Cow, fmt, num::NonZeroU16};

use skycap_core::{names::check_label, request::Request};

/// A request: its destination and its headers.
#[derive(Debug, Clone)]
pub struct AskedRequest {
    /// The Service that the client asks for.
    pub to: ServicePort,
    /// The headers in order, with `:authority` and `:path`; names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The cluster's domain, such as `cluster.local`.
    pub domain: String,
}

/// One port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// The Service's name.
    pub name: String,
    /// The Service's namespace.
    pub namespace: String,
    /// The port's number.
    pub port: NonZeroU16,
}

/// A text that is not a port of a Service.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidServicePort {
    /// The host is not that of a Service.
    #[error(
        "invalid destination `{0}`: expected a Service of the cluster as \
         `SERVICE[.NAMESPACE][:PORT]`; pass it with `--to`"
    )]
    Host(String),
    /// The port is not a number from 1 to 65535.
    #[error("invalid port `{port}` in destination `{text}`: expected a number from 1 to 65535")]
    Port {
        /// The whole text.
        text: String,
        /// Its port.
        port: String,
    },
}

impl ServicePort {
    /// Reads `cart`, `cart.shop`, `cart.shop:8080` or `cart.shop.svc.cluster.local:8080`. Without a
    /// namespace it is in `namespace`, without a port it is port 80.
    ///
    /// # Errors
    /// [`InvalidServicePort`].
    pub fn parse(text: &str, namespace: &str, domain: &str) -> Result<Self, InvalidServicePort> {
        if text.contains("://") {
            return Err(InvalidServicePort::Host(text.into()));
        }
        let (host, port) = text.rsplit_once(':').unwrap_or((text, "80"));
        let invalid_port = |_| InvalidServicePort::Port { text: text.into(), port: port.into() };
        let port = port.parse().map_err(invalid_port)?;
        let host = host.trim_end_matches('.');
        let host = host.strip_suffix(&format!(".svc.{domain}")).unwrap_or(host);
        let host = host.strip_suffix(".svc").unwrap_or(host);
        let (name, namespace) = host.split_once('.').unwrap_or((host, namespace));
        if check_label(name).is_err() || check_label(namespace).is_err() {
            return Err(InvalidServicePort::Host(text.into()));
        }
        Ok(Self { name: name.into(), namespace: namespace.into(), port })
    }
}

/// `cart.shop:80`.
impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}:{}", self.name, self.namespace, self.port)
    }
}

impl AskedRequest {
    fn host(&self) -> String {
        format!("{}.{}.svc.{}", self.to.name, self.to.namespace, self.domain)
    }
}

impl Request for AskedRequest {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let lines = self.headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name));
        let lines: Vec<&[u8]> = lines.map(|(_, value)| value.as_slice()).collect();
        let separator: &[u8] = if name == "cookie" { b"; " } else { b"," };
        (!lines.is_empty()).then(|| lines.join(separator).into())
    }

    fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(name))
    }

    fn cluster_name(&self) -> Option<Vec<u8>> {
        Some(format!("outbound|{}||{}", self.to.port, self.host()).into_bytes())
    }

    fn virtual_host_name(&self) -> Option<Vec<u8>> {
        Some(format!("{}:{}", self.host(), self.to.port).into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_read_in_every_form_of_a_host() {
        let parse = |text| ServicePort::parse(text, "here", "cluster.local");
        for (text, wanted) in [
            ("cart", "cart.here:80"),
            ("cart:8080", "cart.here:8080"),
            ("cart.shop", "cart.shop:80"),
            ("cart.shop.svc", "cart.shop:80"),
            ("cart.shop.svc.cluster.local.:8080", "cart.shop:8080"),
        ] {
            let found = parse(text).map(|service| service.to_string());
            assert_eq!(found.as_deref(), Ok(wanted), "{text}");
        }
        for text in ["www.example.com", ".shop", "", "http://cart.shop/", "cart shop", "[::1]:80"] {
            assert_eq!(parse(text), Err(InvalidServicePort::Host(text.into())));
        }
        for text in ["cart:http", "cart:0", "cart:65536"] {
            assert!(matches!(parse(text), Err(InvalidServicePort::Port { .. })), "{text}");
        }
    }
}
