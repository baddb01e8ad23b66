//! The plan: what is to be done to a request, as a value.

use crate::{
    dispatch::{CLUSTER_HEADER, SANDBOX_HEADER},
    key::RoutingKey,
};

/// What is to be done to a request. An empty plan is law 1: not a byte changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effect {
    /// The edit that makes Envoy take the target, or that takes a client's dispatch header away.
    pub dispatch: Option<HeaderEdit>,
    /// The new value of `baggage`: what was there, and the injected member.
    pub baggage: Option<Vec<u8>>,
    /// The answer that the client gets instead of the upstream's.
    pub response: Option<LocalResponse>,
}

impl Effect {
    /// The plan without a table: only the client's dispatch header is taken away.
    ///
    /// It is that of dispatch `cluster-header`, whose route may be there before the first table.
    #[must_use]
    pub fn without_table(forged: bool) -> Self {
        Self { dispatch: forged.then_some(HeaderEdit::Remove(CLUSTER_HEADER)), ..Self::default() }
    }
}

/// One edit of the request's headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderEdit {
    /// Remove all lines of this name.
    Remove(&'static str),
    /// Leave one line of this name, with this value.
    Set(&'static str, String),
}

impl HeaderEdit {
    pub(crate) fn set(name: &'static str, parts: &[&str]) -> Self {
        Self::Set(name, parts.concat())
    }
}

/// An answer that the filter gives by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalResponse {
    /// The status code.
    pub status: u16,
    /// The response's headers.
    pub headers: Vec<(&'static str, String)>,
    /// A line of text for people.
    pub body: String,
}

impl LocalResponse {
    /// A 503 that names the sandbox and the target that it lacks.
    pub(crate) fn unavailable(key: &RoutingKey, target: &str, port: u16) -> Self {
        Self {
            status: 503,
            headers: vec![("content-type", "text/plain".into()), (SANDBOX_HEADER, key.to_string())],
            body: format!(
                "skycap: sandbox {key}: {target}:{port} is unavailable, and its sandbox says \
                 onUnavailable: fail\n"
            ),
        }
    }
}
