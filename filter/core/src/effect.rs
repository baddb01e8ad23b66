//! The effect of a decision: what is changed in the request, as a value.

use crate::{
    dispatch::{CLUSTER_HEADER, SANDBOX_HEADER},
    key::RoutingKey,
};

/// The changes to one request. With the default, which is empty, no byte changes (law 1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effect {
    /// The edit that directs Envoy to the target, or that removes a client's dispatch header.
    pub dispatch: Option<HeaderEdit>,
    /// The new value of `baggage`: the injected member and the other members of the request.
    pub baggage: Option<Vec<u8>>,
    /// The response that the client gets from the filter, instead of one from the upstream.
    pub response: Option<LocalResponse>,
}

impl Effect {
    /// The effect if there is no table yet: only a client's dispatch header is removed.
    ///
    /// The header is that of dispatch `cluster-header`, because the route of that dispatch may
    /// exist in Envoy before the first table does.
    #[must_use]
    pub fn without_table(forged: bool) -> Self {
        Self { dispatch: forged.then_some(HeaderEdit::Remove(CLUSTER_HEADER)), ..Self::default() }
    }
}

/// One edit of the request's headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderEdit {
    /// Removes all lines of this header.
    Remove(&'static str),
    /// Replaces all lines of this header with one line of this value.
    Set(&'static str, String),
}

impl HeaderEdit {
    pub(crate) fn set(name: &'static str, parts: &[&str]) -> Self {
        Self::Set(name, parts.concat())
    }
}

/// One edit of a header that is a carrier, at an [edge](crate::edge).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarrierEdit {
    /// The header, in lower case.
    pub header: String,
    /// The value of the one line that replaces all lines; `None` removes the header.
    pub value: Option<Vec<u8>>,
}

/// A response that the filter sends itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalResponse {
    /// The HTTP status code.
    pub status: u16,
    /// The response's headers.
    pub headers: Vec<(&'static str, String)>,
    /// One line of text.
    pub body: String,
}

impl LocalResponse {
    /// A 503 that names the key, and the unavailable target if the request may ask for it.
    pub(crate) fn unavailable(key: &RoutingKey, target: Option<(String, u16)>) -> Self {
        let target = match target {
            Some((name, port)) => format!("target `{name}:{port}`"),
            None => "a target".into(),
        };
        let body = format!(
            "skycap: {target} of key `{key}` is unavailable, and `onUnavailable` is `fail`\n"
        );
        let headers =
            vec![("content-type", "text/plain".into()), (SANDBOX_HEADER, key.to_string())];
        Self { status: 503, headers, body }
    }
}
