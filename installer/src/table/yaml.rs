//! Parsing YAML, with errors that fit on one line.

use std::fmt;

use serde::de::DeserializeOwned;

/// Parses the YAML of a data value such as `routes`.
///
/// Without aliases: 500 bytes of them can stand for a million nodes, and anybody who may write a
/// ConfigMap would make each round of the controller wait for them.
pub(crate) fn parse_value<T: DeserializeOwned>(text: &str) -> Result<T, InvalidYaml> {
    serde_saphyr::from_str_with_options(text, bounded())
        .map_err(|error| InvalidYaml::new(&error, 0))
}

/// Parses a data value with several documents, with the same limits.
pub(crate) fn parse_documents<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, InvalidYaml> {
    serde_saphyr::from_multiple_with_options(text, bounded())
        .map_err(|error| InvalidYaml::new(&error, 0))
}

fn bounded() -> serde_saphyr::Options {
    let budget = serde_saphyr::budget! { max_aliases: 0, max_anchors: 0, max_nodes: NODES };
    serde_saphyr::options! { budget: budget }
}

/// Parses one document of a file, `lines_before` lines below the file's first.
///
/// A file comes from the user who runs the command, so its size has no limit here.
pub(crate) fn parse_document<T: DeserializeOwned>(
    text: &str,
    lines_before: u64,
) -> Result<T, InvalidYaml> {
    let options = serde_saphyr::options! { budget: None };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| InvalidYaml::new(&error, lines_before))
}

/// Ten times what the largest valid value has: 256 routes in their long form.
const NODES: usize = 30_000;

/// Text that is not YAML, or not YAML of the expected shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct InvalidYaml {
    /// Line and column, from 1.
    place: Option<(u64, u64)>,
    reason: String,
}

impl InvalidYaml {
    /// Keeps the first line of the parser's message. The lines after it show the document, and the
    /// part about `DuplicateKeyPolicy` addresses programmers.
    fn new(error: &serde_saphyr::Error, lines_before: u64) -> Self {
        if matches!(error.without_snippet(), serde_saphyr::Error::MultipleDocuments { .. }) {
            let reason = "several documents; expected one, so remove what follows `---`".into();
            return Self { place: None, reason };
        }
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let line = line.split(", set DuplicateKeyPolicy").next().unwrap_or_default();
        let Some(location) = error.location() else {
            return Self { place: None, reason: line.into() };
        };
        let prefix = format!("line {} column {}: ", location.line(), location.column());
        let reason = line.strip_prefix(&prefix).unwrap_or(line);
        Self {
            place: Some((location.line() + lines_before, location.column())),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for InvalidYaml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid YAML")?;
        if let Some((line, column)) = self.place {
            write!(f, " at line {line} column {column}")?;
        }
        write!(f, ": {}", self.reason)
    }
}
