//! Host patterns: the key as a part of the host name.

use core::{fmt, str::FromStr};

use crate::{invalid_value::InvalidValue, reading::Reading, serde_as_text::serde_as_text};

/// A host that contains `{key}` once: `{key}.preview.example.com` or `cart--{key}.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    before: String,
    after: String,
}

impl HostPattern {
    /// Searches for the key in `authority`: the host of a request, with or without its port.
    pub(super) fn find(&self, authority: &[u8]) -> Reading {
        let host = without_port(authority).to_ascii_lowercase();
        let key = host
            .strip_prefix(self.before.as_bytes())
            .and_then(|rest| rest.strip_suffix(self.after.as_bytes()));
        // A host that does not match is absent and not dropped, because most requests have one.
        key.map_or_else(Reading::absent, Reading::of)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{key}}{}", self.before, self.after)
    }
}

impl FromStr for HostPattern {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let is_host = |part: &str| {
            part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
        };
        let (before, after) = text.split_once("{key}").unwrap_or_default();
        if before.len().max(after.len()) == 0 || !is_host(before) || !is_host(after) {
            return Err(InvalidValue::new(
                text,
                "a host in lower case with one `{key}`, such as `{key}.preview.example.com`",
            ));
        }
        Ok(Self { before: before.into(), after: after.into() })
    }
}

serde_as_text!(HostPattern);

/// Removes `:port` from `authority`. The colons of an IPv6 literal stay, because a `]` follows them.
fn without_port(authority: &[u8]) -> &[u8] {
    match authority.iter().rposition(|byte| *byte == b':').map(|colon| authority.split_at(colon)) {
        Some((host, [b':', port @ ..])) if port.iter().all(u8::is_ascii_digit) => host,
        _ => authority,
    }
}
