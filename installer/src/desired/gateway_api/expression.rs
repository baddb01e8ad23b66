//! The regular expression that matches a key in one `baggage` line.
//!
//! It agrees with [`skycap_core::baggage::find`] for every ASCII line that is not longer than the
//! filter reads: exactly the member's name, exactly the key as its value, optional white space,
//! properties, any position in the list, and each byte of the key literal or percent-encoded. It
//! skips a malformed member, it skips properties in either form, and of several members with the name the last one decides. The latter
//! seems to need look-ahead, but "a member that is not a well-formed `sandbox=…`" is a regular
//! language, which the expression spells out. Property tests compare it with the filter's parser,
//! in Rust's `regex` and in RE2.
//!
//! Two cases depend on the mesh: several `baggage` lines are tried one by one, and on Linkerd a
//! line with a byte above 0x7f matches no expression.
//!
//! The expression is anchored, because Linkerd takes the leftmost-first match and requires it to
//! span the line (linkerd2-proxy: `linkerd/http/route/src/http/match/header.rs`).

use std::fmt::Write as _;

use skycap_core::key::RoutingKey;

/// The expressions for one baggage member; it holds the parts that do not depend on the key.
#[derive(Debug, Clone)]
pub struct MemberExpression {
    before: String,
    after: String,
}

impl MemberExpression {
    /// The expressions for the member `name`, which must be a token.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let escaped: String = name.bytes().map(literal).collect();
        Self {
            before: format!("^(?:[^,]*,)*[ \\t]*{escaped}[ \\t]*=[ \\t]*"),
            after: format!("{ENCODED_PROPERTIES}[ \\t]*(?:;[^,]*)?(?:,{})*$", other_member(name)),
        }
    }

    /// The expression for one key, at most 4,096 bytes: the limit of the Gateway API for a value.
    #[must_use]
    pub fn for_key(&self, key: &RoutingKey) -> String {
        let mut expression = self.before.clone();
        for byte in key.as_bytes() {
            // Writing to a String cannot fail.
            let _ = write!(expression, "(?:{}|{})", literal(*byte), percent_encoded(*byte));
        }
        expression.push_str(&self.after);
        expression
    }
}

/// A member that the filter does not read as a value of `name`: another name, or malformed.
fn other_member(name: &str) -> String {
    // After the whole name: the end, a property, the rest of a longer name, or a malformed value.
    let mut rest = format!("[ \\t]*(?:[^,= \\t][^,]*|=[ \\t]*{MALFORMED_VALUE})?");
    for (index, byte) in name.bytes().enumerate().rev() {
        // White space before a name is not part of it.
        let space = if index == 0 { " \\t" } else { "" };
        let byte = literal(byte);
        rest = format!("(?:[^,{space}{byte}][^,]*|{byte}{rest})?");
    }
    format!("[ \\t]*{rest}")
}

/// A value outside the grammar, up to the end of its member: a valid beginning followed by an
/// invalid byte or a broken percent sign, or white space between valid bytes.
const MALFORMED_VALUE: &str = concat!(
    r"(?:(?:[!#$&-+\--:<-\[\]-~]|%[0-9A-Fa-f][0-9A-Fa-f])*",
    r"(?:[^,;!#-+\--:<-\[\]-~ \t][^,]*|%[0-9A-Fa-f]?(?:[^,0-9A-Fa-f][^,]*)?)",
    r"|(?:[!#$&-+\--:<-\[\]-~]|%[0-9A-Fa-f][0-9A-Fa-f])+[ \t]+[^,; \t][^,]*)",
);

/// Properties that Python's SDK encodes into the value, up to the end of the value.
const ENCODED_PROPERTIES: &str = r"(?:%3[Bb](?:[!#$&-+\--:<-\[\]-~]|%[0-9A-Fa-f][0-9A-Fa-f])*)?";

/// A byte that matches itself, inside and outside of a class, in both engines.
fn literal(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() {
        char::from(byte).to_string()
    } else {
        format!("\\x{byte:02X}")
    }
}

/// `%2[Dd]`: hexadecimal digits may have either case (RFC 3986 section 2.1).
fn percent_encoded(byte: u8) -> String {
    let digits = format!("{byte:02X}");
    let digits = digits.chars().map(|digit| match digit.to_ascii_lowercase() {
        lower if lower == digit => digit.to_string(),
        lower => format!("[{digit}{lower}]"),
    });
    format!("%{}", digits.collect::<String>())
}
