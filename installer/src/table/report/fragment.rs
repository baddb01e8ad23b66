//! What became of one fragment.

use std::{fmt, num::NonZeroU16, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use skycap_core::key::RoutingKey;

use crate::{
    names::{OWNER_LABEL, PULL_REQUEST_LABEL},
    objects::ObjectRef,
    problem::{Problem, printable},
    table::{
        availability::OnUnavailable,
        fragments::{Content, Fragment},
    },
};

/// The result of a compile for one fragment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FragmentReport {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its routing key.
    pub key: String,
    /// Whether it routes, and if not, why.
    pub state: FragmentState,
    /// When the API server created it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// When it ends; `None` if it never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Who it belongs to: its label `skycap.dev/owner`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The pull request that it is for: its label `skycap.dev/pull-request`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<String>,
    /// The keys that it joins or extends.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub joins: Arc<[RoutingKey]>,
    /// Its routes, by Service and port.
    pub routes: Vec<RouteReport>,
    /// The queues whose messages with its key are its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<String>,
}

impl FragmentReport {
    /// `shop/pr-1`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether `problem` is about this fragment.
    #[must_use]
    pub fn has(&self, problem: &Problem) -> bool {
        problem.object.as_deref() == Some(&ObjectRef::config_map(&self.namespace, &self.name))
    }

    pub(crate) fn new(
        fragment: &Fragment,
        state: FragmentState,
        mut routes: Vec<RouteReport>,
    ) -> Self {
        let joins = match &fragment.content {
            // Not a copy: a namespace may have 200,000 members.
            Content::Group { members, .. } => Arc::clone(members),
            Content::Sandbox { extends, .. } => extends.iter().copied().collect(),
        };
        let label = |name: &str| match &fragment.content {
            Content::Sandbox { labels, .. } => labels.get(name).map(|text| printable(text)),
            Content::Group { .. } => None,
        };
        let queues = match &fragment.content {
            Content::Sandbox { queues, .. } => queues.clone(),
            Content::Group { .. } => Vec::new(),
        };
        routes.sort();
        Self {
            namespace: fragment.origin.namespace.clone(),
            name: fragment.origin.name.clone(),
            key: fragment.key.to_string(),
            state,
            created: fragment.origin.created,
            expires: fragment.expires,
            owner: label(OWNER_LABEL),
            pull_request: label(PULL_REQUEST_LABEL),
            joins,
            routes,
            queues,
        }
    }
}

fn is_empty(joins: &Arc<[RoutingKey]>) -> bool {
    joins.is_empty()
}

/// Whether a fragment routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FragmentState {
    /// It routes.
    Active,
    /// Its `enabled` is `"false"`.
    Disabled,
    /// Its `ttl` or `expires` is over.
    Expired,
    /// The settings' `namespaces` does not select its namespace.
    Unselected,
    /// The table has no room for it, because its namespace uses too much.
    Evicted,
}

impl FragmentState {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::Unselected => "unselected",
            Self::Evicted => "evicted",
        }
    }
}

/// One destination that a fragment replaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteReport {
    /// The baseline Service.
    pub service: String,
    /// Its port; `None` for every port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<NonZeroU16>,
    /// The target's Service.
    pub to: String,
    /// The target's port; `None` for the destination's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_port: Option<NonZeroU16>,
    /// What a request gets, if the target is unavailable now; `None` while it is available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<OnUnavailable>,
}

impl fmt::Display for RouteReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, port, to, to_port, unavailable } = self;
        f.write_str(service)?;
        port.map_or(Ok(()), |port| write!(f, ":{port}"))?;
        write!(f, " -> {to}")?;
        match (unavailable, to_port.or(*port)) {
            (Some(OnUnavailable::Baseline), _) => f.write_str(" (unavailable: baseline)"),
            (Some(OnUnavailable::Fail), _) => f.write_str(" (unavailable: 503)"),
            (None, Some(port)) => write!(f, ":{port}"),
            (None, None) => Ok(()),
        }
    }
}
