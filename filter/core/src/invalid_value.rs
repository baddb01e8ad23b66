//! The error for a value that its field does not accept.

use core::{error::Error, fmt};

/// A value that its field does not accept, and a description of the values that it accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidValue {
    value: String,
    expected: &'static str,
}

impl InvalidValue {
    /// An error for `value`. `expected` completes the sentence "expected …".
    pub(crate) fn new(value: &str, expected: &'static str) -> Self {
        Self { value: value.into(), expected }
    }
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, expected } = self;
        write!(f, "invalid value `{value}`: expected {expected}")
    }
}

impl Error for InvalidValue {}
