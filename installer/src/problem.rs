//! What can be said of an input: that it is refused, or a warning.

use core::fmt;

use serde::{Deserialize, Serialize};

/// One thing that is wrong, where it stands, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Whose: `shop/pr-1`, or empty where a document has no name.
    pub fragment: String,
    /// Where the document begins: `examples/pr-1.yaml:12`.
    pub source: String,
    /// The field, as `data.routes`; empty where it is the whole document.
    pub field: String,
    /// What is wrong, what was expected, what to do.
    pub text: String,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document is malformed and contributes nothing.
    Refused,
    /// The document is well formed, but some of it has no effect now.
    Warning,
}

impl Severity {
    /// The word for it, in lower case.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Warning => "warning",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, fragment, source, field, text } = self;
        f.write_str(severity.label())?;
        if !fragment.is_empty() {
            write!(f, " {fragment}")?;
        }
        write!(f, " ({source}): ")?;
        if !field.is_empty() {
            write!(f, "{field}: ")?;
        }
        f.write_str(text)
    }
}

/// What is wrong with one field of a document that is known to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) field: String,
    pub(crate) text: String,
}

impl Fault {
    pub(crate) fn new(field: &str, text: impl fmt::Display) -> Self {
        Self { field: field.into(), text: text.to_string() }
    }
}
