//! The interface through which the core reads a request.

use std::borrow::Cow;

/// A request as the core reads it.
///
/// Each call may be expensive (in the filter it is a host call), so the core calls only what a
/// decision needs (law 6). Neighboring carriers that read the same header share one call.
pub trait Request {
    /// Returns the value of the header `name`, which is in lower case; also of the pseudo-headers
    /// `:authority` and `:path`.
    ///
    /// Several lines are joined by `,` (RFC 9110 section 5.3), and cookies by `; ` (RFC 9113
    /// section 8.2.3).
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>>;

    /// Returns whether there is a header `name`, even with an empty value.
    fn has_header(&self, name: &str) -> bool;

    /// Returns the name of the cluster that Envoy selected: its attribute `xds.cluster_name`.
    fn cluster_name(&self) -> Option<Vec<u8>>;

    /// Returns the name of the virtual host that Envoy selected: its attribute
    /// `xds.virtual_host_name`.
    fn virtual_host_name(&self) -> Option<Vec<u8>>;
}
