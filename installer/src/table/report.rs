//! The report: what became of every fragment, for people and for machines.

mod share;
mod text;

use std::{fmt, num::NonZeroU16, sync::Arc};

use serde::{Deserialize, Serialize};
use skycap_core::key::RoutingKey;

pub(crate) use self::text::problems;
use super::{
    availability::OnUnavailable,
    fragments::{Content, Fragment},
};
use crate::{
    objects::ObjectRef,
    problem::{Problem, Severity},
};

/// The result of a compile for every fragment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether there is a table. There is none if the settings are rejected.
    pub compiled: bool,
    /// Whether the kill switch is on, so that no request is routed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disabled: bool,
    /// The well-formed fragments and their routes, the oldest first.
    pub fragments: Vec<FragmentReport>,
    /// The number of fragments that were left out for lack of space.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted: usize,
    /// The problems, sorted: rejected objects first, then warnings.
    pub problems: Vec<Problem>,
    /// The number of problems that were left out for lack of space.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted_problems: usize,
}

impl Report {
    pub(crate) fn new(
        fragments: impl Iterator<Item = FragmentReport>,
        mut problems: Vec<Problem>,
        compiled: bool,
        disabled: bool,
    ) -> Self {
        problems.sort();
        problems.dedup();
        let fragments = fragments.collect();
        Self { compiled, disabled, fragments, omitted: 0, problems, omitted_problems: 0 }
    }

    /// Records that the table as a whole is rejected, so that the current table stays in place.
    pub fn refuse_table(&mut self, text: &str) {
        self.compiled = false;
        self.problems.push(Problem::of_table(Severity::Refused, text));
        self.problems.sort();
    }

    /// Adds the problems that were found when the table was turned into a mesh's objects.
    pub fn add(&mut self, problems: Vec<Problem>) {
        self.problems.extend(problems);
        self.problems.sort();
    }

    /// This report, with as many problems as fit into half of `bytes` of JSON, and as many fragments
    /// as fit into the rest. What is left out is counted.
    ///
    /// Each namespace gets an equal share, so that the many problems of one do not displace those of
    /// another.
    #[must_use]
    pub fn shorten(&self, bytes: usize) -> Self {
        let namespace_of = |problem: &Problem| match &problem.object {
            Some(object) => object.namespace.clone().unwrap_or_default(),
            None => String::new(),
        };
        let (problems, used) = share::shorten(&self.problems, namespace_of, bytes / 2);
        let namespace_of = |fragment: &FragmentReport| fragment.namespace.clone();
        let (fragments, _) = share::shorten(&self.fragments, namespace_of, bytes - used);
        Self {
            compiled: self.compiled,
            disabled: self.disabled,
            omitted: self.omitted + self.fragments.len() - fragments.len(),
            omitted_problems: self.omitted_problems + self.problems.len() - problems.len(),
            fragments,
            problems,
        }
    }

    /// Whether anything was rejected.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Refused)
    }

    /// The report as tables for people, at most 100 columns wide unless names are long.
    #[must_use]
    pub fn table(&self) -> String {
        text::report(self)
    }
}

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
    /// The keys that it joins or extends.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub joins: Arc<[RoutingKey]>,
    /// Its routes, by Service and port.
    pub routes: Vec<RouteReport>,
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
        routes.sort();
        Self {
            namespace: fragment.origin.namespace.clone(),
            name: fragment.origin.name.clone(),
            key: fragment.key.to_string(),
            state,
            joins,
            routes,
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
    const fn label(self) -> &'static str {
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}
