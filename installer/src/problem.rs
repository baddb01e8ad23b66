//! What can be said of an input: that it is rejected, or a warning.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::objects::ObjectRef;

/// One thing that is wrong, where it stands, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The object that it is about; `None` for a document without a name, and for the table as a
    /// whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Box<ObjectRef>>,
    /// Where the document begins in a file, as `examples/pr-1.yaml:12`; `None` for what was read
    /// from a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The field, as `data.routes`; empty where it is the whole object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What is wrong, what was expected, what to do.
    pub text: String,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The object is malformed and contributes nothing.
    Refused,
    /// The object is well formed, but part of it has no effect now.
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

impl Problem {
    /// A problem of an object in a cluster.
    pub(crate) fn of(
        object: ObjectRef,
        severity: Severity,
        field: &str,
        text: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            object: Some(Box::new(object)),
            source: None,
            field: field.into(),
            text: text.into(),
        }
    }

    /// A problem of the table as a whole.
    pub(crate) fn of_table(severity: Severity, text: impl Into<String>) -> Self {
        Self { severity, object: None, source: None, field: String::new(), text: text.into() }
    }

    /// Where it stands, a line for each part: the object, its place in a file, the field.
    pub(crate) fn place(&self) -> Vec<String> {
        let object = self.object.as_ref().map(ToString::to_string);
        let table = (object.is_none() && self.source.is_none()).then(|| "table".to_owned());
        let field = Some(self.field.clone()).filter(|field| !field.is_empty());
        object.or(table).into_iter().chain(self.source.clone()).chain(field).collect()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, object, source, field, text } = self;
        write!(f, "{}: ", severity.label())?;
        match (object, source) {
            (Some(object), Some(source)) => write!(f, "{object} ({source}): ")?,
            (Some(object), None) => write!(f, "{object}: ")?,
            (None, Some(source)) => write!(f, "{source}: ")?,
            (None, None) => f.write_str("the table: ")?,
        }
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
