//! Which namespaces an answer is about.

use std::fmt;

use crate::{
    names::NAMESPACE,
    problem::Problem,
    table::report::{FragmentReport, Report},
};

/// One namespace or all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All namespaces.
    All,
    /// This namespace.
    Namespace(String),
}

impl Scope {
    /// Whether the scope has this namespace.
    #[must_use]
    pub fn has(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(own) => own == namespace,
        }
    }

    /// Whether a problem concerns this scope.
    ///
    /// A problem of the settings, of the whole table, of a cluster-wide object or of a document
    /// without a name concerns every namespace.
    #[must_use]
    pub fn concerns(&self, problem: &Problem) -> bool {
        let namespace = problem.object.as_ref().and_then(|object| object.namespace.as_deref());
        namespace.is_none_or(|namespace| namespace == NAMESPACE || self.has(namespace))
    }

    /// The part of a report that concerns this scope.
    #[must_use]
    pub fn of_report(&self, mut report: Report) -> Report {
        let is_in_scope = |fragment: &FragmentReport| self.has(&fragment.namespace);
        report.fragments.retain(is_in_scope);
        report.problems.retain(|problem| self.concerns(problem));
        report
    }
}

/// `all namespaces` or ``namespace `shop` ``.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all namespaces"),
            Self::Namespace(name) => write!(f, "namespace `{name}`"),
        }
    }
}
