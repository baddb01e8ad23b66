//! The view of a request that the core decides by.

use std::borrow::Cow;

/// What the core asks of a request: little, and for carriers that share a header once.
pub trait Request {
    /// The value of the header `name` (lower case; `:authority` and `:path` too): all its lines
    /// joined by `,` (RFC 9110 section 5.3), cookies by `; ` (RFC 9113 section 8.2.3).
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>>;

    /// Whether there is a header `name`, even an empty one.
    fn has_header(&self, name: &str) -> bool;

    /// The cluster that Envoy picked: its attribute `xds.cluster_name`.
    fn cluster_name(&self) -> Option<Vec<u8>>;

    /// The virtual host that Envoy picked: its attribute `xds.virtual_host_name`.
    fn virtual_host_name(&self) -> Option<Vec<u8>>;
}
