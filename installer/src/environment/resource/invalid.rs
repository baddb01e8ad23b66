//! Why a resource is rejected.

use std::fmt;

use crate::problem::InvalidField;

/// Why a resource is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {text}")]
pub struct InvalidResource {
    /// The field of the ConfigMap, such as `data.manifest[1].metadata.name`: the second document.
    field: String,
    /// What is wrong, what was expected and what to do.
    text: String,
}

impl InvalidResource {
    pub(super) fn new(field: &str, text: impl fmt::Display) -> Self {
        Self { field: field.into(), text: text.to_string() }
    }
}

impl From<InvalidField> for InvalidResource {
    fn from(InvalidField { field, text }: InvalidField) -> Self {
        Self { field, text }
    }
}
