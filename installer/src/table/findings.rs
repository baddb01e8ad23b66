//! What a compile finds wrong, bounded for each namespace.

use std::collections::HashMap;

use super::{fragments::Fragment, limits::NAMESPACE_WARNINGS};
use crate::problem::{Problem, Severity};

/// The problems that a compile finds, in addition to those of the parser.
///
/// Of one namespace it keeps at most [`NAMESPACE_WARNINGS`] of each severity, because a developer
/// can write millions of routes to Services that do not exist. The others are counted.
#[derive(Debug, Default)]
pub(crate) struct Findings<'a> {
    problems: Vec<Problem>,
    found: HashMap<(&'a str, Severity), usize>,
}

impl<'a> Findings<'a> {
    /// Adds a problem of `fragment`; makes its text only if there is room for it.
    pub(crate) fn add(
        &mut self,
        severity: Severity,
        fragment: &'a Fragment,
        field: &str,
        text: impl FnOnce() -> String,
    ) {
        let found = self.found.entry((&fragment.origin.namespace, severity)).or_default();
        *found += 1;
        if *found <= NAMESPACE_WARNINGS {
            self.problems.push(fragment.origin.problem(severity, field, text()));
        }
    }

    /// The problems, and one for each namespace that has more of them.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        let beyond = self.found.into_iter().filter(|(_, found)| *found > NAMESPACE_WARNINGS);
        let more = beyond.map(|((namespace, severity), found)| {
            let text = format!(
                "namespace `{namespace}` has {} more of these problems; correct the ones above \
                 first",
                found - NAMESPACE_WARNINGS
            );
            Problem::of_table(severity, text)
        });
        let mut problems = self.problems;
        problems.extend(more);
        problems
    }
}
