//! The report: what became of every fragment, for people and for machines.

mod fragment;
mod share;
mod text;

use serde::{Deserialize, Serialize};

pub use self::fragment::{FragmentReport, FragmentState, RouteReport};
pub(crate) use self::text::{problems, refused_rows, row};
use crate::problem::{Problem, Severity};

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

    /// The same with another table of the fragments; `None` if there are none.
    pub(crate) fn table_with(&self, fragments: Option<String>) -> String {
        text::report_with(self, fragments)
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
