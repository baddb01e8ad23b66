//! Problems of an input: objects that are rejected, and parts of objects that have no effect.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::objects::ObjectRef;

/// One problem: how severe it is, which field of which object has it, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Problem {
    /// Whether the object is rejected or only warned about.
    pub severity: Severity,
    /// The object; `None` for a document without a name, and for the table as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Box<ObjectRef>>,
    /// The file and the line where the object begins, as `examples/pr-1.yaml:12`; `None` if the
    /// object was read from a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The field, as `data.routes`; empty if the problem concerns the whole object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What is wrong, what was expected and what to do.
    pub text: String,
}

impl Problem {
    /// The only place where a problem and its text are made: every other constructor calls it. So
    /// every text of a problem is [`printable`].
    pub(crate) fn new(
        severity: Severity,
        object: Option<ObjectRef>,
        source: Option<&str>,
        field: &str,
        text: impl fmt::Display,
    ) -> Self {
        Self {
            severity,
            object: object.map(|object| Box::new(printable_reference(object))),
            source: source.map(printable),
            field: printable(field),
            text: printable(&text.to_string()),
        }
    }

    /// A problem of an object in a cluster.
    pub(crate) fn of(
        object: ObjectRef,
        severity: Severity,
        field: &str,
        text: impl fmt::Display,
    ) -> Self {
        Self::new(severity, Some(object), None, field, text)
    }

    /// A problem of the table as a whole.
    pub(crate) fn of_table(severity: Severity, text: impl fmt::Display) -> Self {
        Self::new(severity, None, None, "", text)
    }

    /// Where the problem is, one line for each part: the object, its place in a file, the field.
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

/// Makes a text that may quote anything safe to print: characters that could move the cursor or
/// reorder the line are escaped, each value in backticks is clipped to [`QUOTED_BYTES`], and the whole
/// to [`TEXT_BYTES`].
#[must_use]
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len().min(TEXT_BYTES));
    // The bytes of the quoted value so far; `None` outside backticks.
    let mut quoted = None;
    for character in text.chars() {
        if printable.len() >= TEXT_BYTES {
            printable.push('…');
            return printable;
        }
        quoted = match (character, quoted) {
            ('`', None) => Some(0),
            ('`', Some(_)) => None,
            (_, quoted) => quoted.map(|bytes| bytes + character.len_utf8()),
        };
        match quoted {
            Some(bytes) if bytes > QUOTED_BYTES => {
                if bytes - character.len_utf8() <= QUOTED_BYTES {
                    printable.push('…');
                }
            }
            _ if is_unprintable(character) => printable.extend(character.escape_unicode()),
            _ => printable.push(character),
        }
    }
    printable
}

/// A text of several lines, of which each is safe to print as a whole.
pub(crate) fn printable_lines(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => printable.push('\n'),
            _ if is_unprintable(character) => printable.extend(character.escape_unicode()),
            _ => printable.push(character),
        }
    }
    printable
}

/// Control characters, line separators, and the characters that change the direction of a line
/// (Unicode Standard Annex 9, "explicit directional formatting").
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

fn printable_reference(reference: ObjectRef) -> ObjectRef {
    let ObjectRef { api_version, kind, namespace, name } = reference;
    ObjectRef {
        api_version: printable(&api_version),
        kind: printable(&kind),
        namespace: namespace.as_deref().map(printable),
        name: printable(&name),
    }
}

/// Maximum bytes of a quoted value in a message.
pub const QUOTED_BYTES: usize = 200;
/// Maximum bytes of a message: nearly what the API server accepts as the note of an Event (1,024).
pub const TEXT_BYTES: usize = 1_000;

/// How severe a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The object is malformed: it is rejected and contributes nothing.
    Refused,
    /// The object is well formed, but part of it has no effect now.
    Warning,
}

impl Severity {
    /// The severity in lower case, as reports and logs show it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Warning => "warning",
        }
    }
}

/// A value that a parser rejects, as in "invalid port `0`: expected a number from 1 to 65535".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidValue {
    what: &'static str,
    value: String,
    expected: &'static str,
}

impl InvalidValue {
    /// `what` names the value in the message: "value", "port", "mesh".
    pub(crate) fn new(
        what: &'static str,
        value: impl fmt::Display,
        expected: &'static str,
    ) -> Self {
        Self { what, value: value.to_string(), expected }
    }
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, value, expected } = self;
        if value.is_empty() {
            write!(f, "empty {what}: expected {expected}")
        } else {
            write!(f, "invalid {what} `{value}`: expected {expected}")
        }
    }
}

/// What is wrong with one field of an object. The caller knows the object and makes a [`Problem`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {text}")]
pub struct InvalidField {
    /// The field, as `data.routes`.
    pub field: String,
    /// What is wrong, what was expected and what to do.
    pub text: String,
}

impl InvalidField {
    pub(crate) fn new(field: &str, text: impl fmt::Display) -> Self {
        Self { field: field.into(), text: text.to_string() }
    }
}
