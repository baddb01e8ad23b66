//! The hidden line that tells whose comment it is.

use std::fmt;

use crate::environment::summary::Summary;

/// The first line of a comment: an HTML comment with the namespace and the name of a sandbox. Nobody
/// sees it on the page, and it survives every edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    namespace: String,
    sandbox: String,
}

impl Marker {
    /// The marker of a sandbox.
    #[must_use]
    pub fn of(summary: &Summary) -> Self {
        Self { namespace: encode(&summary.namespace), sandbox: encode(&summary.sandbox) }
    }

    /// The marker at the start of a comment; `None` if the comment is not skycap's.
    #[must_use]
    pub fn read(comment: &str) -> Option<Self> {
        let line = comment.lines().next()?.trim_end();
        let (namespace, sandbox) =
            line.strip_prefix(BEFORE)?.strip_suffix(AFTER)?.split_once('/')?;
        let is_encoded = |text: &str| text.bytes().all(|byte| is_plain(byte) || byte == b'%');
        let marker = Self { namespace: namespace.to_owned(), sandbox: sandbox.to_owned() };
        (is_encoded(namespace) && is_encoded(sandbox)).then_some(marker)
    }

    /// The sandbox's name.
    #[must_use]
    pub fn sandbox(&self) -> &str {
        &self.sandbox
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{BEFORE}{}/{}{AFTER}", self.namespace, self.sandbox)
    }
}

/// The names of a cluster are plain. Of any other, each byte is percent-encoded, so that it cannot end
/// the HTML comment.
fn encode(name: &str) -> String {
    let encode = |byte: u8| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    name.bytes().map(encode).collect()
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')
}

const BEFORE: &str = "<!-- skycap: ";
const AFTER: &str = " -->";
