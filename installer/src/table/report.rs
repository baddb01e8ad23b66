//! The report: what became of every fragment, for people and for machines.

use std::{fmt, num::NonZeroU16};

use anstyle::{AnsiColor, Style};
use serde::{Deserialize, Serialize};
use tabled::{
    Table, Tabled,
    settings::{Style as Frame, Width, object::Columns},
};

use super::fragments::{Content, Fragment, OnUnavailable};
use crate::{
    objects::ObjectRef,
    problem::{Problem, Severity},
};

/// What became of every fragment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether the settings are good, and so there is a table.
    pub compiled: bool,
    /// The well-formed fragments and what they route, the oldest first.
    pub fragments: Vec<FragmentReport>,
    /// How many fragments there was no room for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted: usize,
    /// Refusals and warnings, sorted.
    pub problems: Vec<Problem>,
}

/// What became of one fragment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FragmentReport {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its routing key.
    pub key: String,
    /// Whether it routes.
    pub state: FragmentState,
    /// The keys that it joins or extends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joins: Vec<String>,
    /// What it routes, by Service and port.
    pub routes: Vec<RouteReport>,
}

/// One destination that a fragment replaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteReport {
    /// The baseline's Service.
    pub service: String,
    /// Its port; `None` for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<NonZeroU16>,
    /// The target's Service.
    pub to: String,
    /// The target's port; `None` for the destination's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_port: Option<NonZeroU16>,
    /// What a request gets if the target is unavailable now; `None` while it is available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<OnUnavailable>,
}

/// Whether a fragment routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FragmentState {
    /// It does.
    Active,
    /// It is switched off.
    Disabled,
    /// Its time is over.
    Expired,
    /// Its namespace is none of those that the settings select.
    Unselected,
}

impl FragmentState {
    const fn label(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::Unselected => "unselected",
        }
    }
}

impl FragmentReport {
    /// `shop/pr-1`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether a problem is about this fragment.
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
            Content::Group { members } => members.iter().map(ToString::to_string).collect(),
            Content::Sandbox { extends, .. } => extends.iter().map(ToString::to_string).collect(),
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

impl Report {
    pub(crate) fn new(
        fragments: impl Iterator<Item = FragmentReport>,
        mut problems: Vec<Problem>,
        compiled: bool,
    ) -> Self {
        problems.sort();
        problems.dedup();
        Self { compiled, fragments: fragments.collect(), omitted: 0, problems }
    }

    /// Says that the table as a whole is refused, and that the one in place stays.
    pub fn refuse_table(&mut self, text: &str) {
        self.compiled = false;
        self.problems.push(Problem::of_table(Severity::Refused, text));
        self.problems.sort();
    }

    /// Adds what was found when the table was put into a mesh's terms.
    pub fn add(&mut self, problems: Vec<Problem>) {
        self.problems.extend(problems);
        self.problems.sort();
    }

    /// Keeps no more than `fragments` of the fragments and 500 problems, and counts the others.
    pub fn truncate(&mut self, fragments: usize) {
        self.omitted += self.fragments.len().saturating_sub(fragments);
        self.fragments.truncate(fragments);
        self.problems.truncate(500);
    }

    /// Whether anything was refused.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Refused)
    }

    /// The report as tables for people, at most 100 columns wide but for long names.
    #[must_use]
    pub fn table(&self) -> String {
        let fragments = self.fragments.iter().map(FragmentRow::from).chain(self.refused());
        let mut text = table(fragments, 3).unwrap_or_else(|| "no sandbox and no group".into());
        if self.omitted > 0 {
            text.push_str(&format!("\n … and {} more", self.omitted));
        }
        text.extend(problems(&self.problems).map(|problems| format!("\n\n{problems}")));
        if !self.compiled {
            text.push_str("\n\nno table: the one in place stays");
        }
        text
    }

    fn refused(&self) -> impl Iterator<Item = FragmentRow> {
        let refused = self.problems.iter().filter(|problem| problem.severity == Severity::Refused);
        refused.map(|problem| FragmentRow {
            // A document that cannot be read has no name.
            fragment: problem.place().swap_remove(0),
            key: String::new(),
            state: paint(AnsiColor::Red, problem.severity.label()),
            routes: String::new(),
        })
    }
}

/// Problems as a table for people; `None` where there is none.
pub(crate) fn problems(problems: &[Problem]) -> Option<String> {
    table(problems.iter().map(ProblemRow::from), 2)
}

#[derive(Tabled)]
struct FragmentRow {
    fragment: String,
    key: String,
    state: String,
    routes: String,
}

impl From<&FragmentReport> for FragmentRow {
    fn from(report: &FragmentReport) -> Self {
        let color = match report.state {
            FragmentState::Active => AnsiColor::Green,
            FragmentState::Disabled | FragmentState::Expired | FragmentState::Unselected => {
                AnsiColor::Yellow
            }
        };
        let routes = report.routes.iter().map(ToString::to_string);
        let joins = (!report.joins.is_empty()).then(|| format!("+ {}", report.joins.join(", ")));
        Self {
            fragment: report.id(),
            key: report.key.clone(),
            state: paint(color, report.state.label()),
            routes: routes.chain(joins).collect::<Vec<_>>().join("\n"),
        }
    }
}

#[derive(Tabled)]
struct ProblemRow {
    severity: String,
    #[tabled(rename = "where")]
    place: String,
    what: String,
}

impl From<&Problem> for ProblemRow {
    fn from(problem: &Problem) -> Self {
        let color = match problem.severity {
            Severity::Refused => AnsiColor::Red,
            Severity::Warning => AnsiColor::Yellow,
        };
        Self {
            severity: paint(color, problem.severity.label()),
            place: problem.place().join("\n"),
            what: problem.text.clone(),
        }
    }
}

fn table<R: Tabled>(rows: impl Iterator<Item = R>, wide: usize) -> Option<String> {
    let mut rows = rows.peekable();
    rows.peek()?;
    let mut table = Table::new(rows);
    table.with(Frame::blank()).modify(Columns::one(wide), Width::wrap(56).keep_words(true));
    let text = table.to_string();
    Some(text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"))
}

fn paint(color: AnsiColor, text: &str) -> String {
    let style = Style::new().fg_color(Some(color.into()));
    format!("{style}{text}{style:#}")
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}
