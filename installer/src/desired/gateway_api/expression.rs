//! The regular expression that finds a key in one `baggage` line.
//!
//! It says what [`skycap_core::baggage::find`] says, of every line of ASCII that is no longer than
//! the filter reads: the member's own name and no other, its own value and no other, optional
//! white space, properties, any place in the list, each byte of the key as it is or
//! percent-encoded, a malformed member skipped, and of several members of the name the last one.
//! That the last one wins looks as if it took a look-ahead; but "a member that is not well-formed
//! `sandbox=…`" is a regular language, and is written out here. Checked against the filter's
//! parser by property tests, in Rust's `regex` and in RE2.
//!
//! Where it cannot say the same, the mesh decides: several `baggage` lines are tried one by one,
//! and on Linkerd a line with a byte above 0x7e matches nothing.
//!
//! It is anchored: Linkerd takes the leftmost-first match and wants it to span the line
//! (linkerd2-proxy: `linkerd/http/route/src/http/match/header.rs`).

use std::fmt::Write as _;

use skycap_core::key::RoutingKey;

/// The expressions of one baggage member: what does not depend on the key is made once.
#[derive(Debug, Clone)]
pub struct MemberExpression {
    before: String,
    after: String,
}

impl MemberExpression {
    /// For the member of this name, which is a token.
    #[must_use]
    pub fn new(member: &str) -> Self {
        let name: String = member.bytes().map(literal).collect();
        Self {
            before: format!("^(?:[^,]*,)*[ \\t]*{name}[ \\t]*=[ \\t]*"),
            after: format!("[ \\t]*(?:;[^,]*)?(?:,{})*$", no_value_of(member)),
        }
    }

    /// The expression for one key.
    #[must_use]
    pub fn of(&self, key: &RoutingKey) -> String {
        let mut expression = self.before.clone();
        for byte in key.as_bytes() {
            // Writing to a String cannot fail.
            let _ = write!(expression, "(?:{}|{})", literal(*byte), percent_encoded(*byte));
        }
        expression.push_str(&self.after);
        expression
    }
}

/// A member that the filter does not take for a value of `name`: of another name, or malformed.
fn no_value_of(name: &str) -> String {
    // Behind the whole name: the end, a property, or more of a longer name; or a bad value.
    let mut rest = format!("[ \\t]*(?:[^,= \\t][^,]*|=[ \\t]*{MALFORMED})?");
    for (place, byte) in name.bytes().enumerate().rev() {
        // White space before a name is no part of it.
        let space = if place == 0 { " \\t" } else { "" };
        let byte = literal(byte);
        rest = format!("(?:[^,{space}{byte}][^,]*|{byte}{rest})?");
    }
    format!("[ \\t]*{rest}")
}

/// A value outside the grammar, up to the end of its member: a bad byte or a broken percent sign
/// behind a good beginning, or white space inside.
const MALFORMED: &str = concat!(
    r"(?:(?:[!#$&-+\--:<-\[\]-~]|%[0-9A-Fa-f][0-9A-Fa-f])*",
    r"(?:[^,;!#-+\--:<-\[\]-~ \t][^,]*|%[0-9A-Fa-f]?(?:[^,0-9A-Fa-f][^,]*)?)",
    r"|(?:[!#$&-+\--:<-\[\]-~]|%[0-9A-Fa-f][0-9A-Fa-f])+[ \t]+[^,; \t][^,]*)",
);

/// A byte as itself, in and outside a class, for both engines.
fn literal(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() {
        char::from(byte).to_string()
    } else {
        format!("\\x{byte:02X}")
    }
}

/// `%2[Dd]`: hexadecimal digits are of either case (RFC 3986 section 2.1).
fn percent_encoded(byte: u8) -> String {
    let digits = format!("{byte:02X}");
    let digits = digits.chars().map(|digit| match digit.to_ascii_lowercase() {
        lower if lower == digit => digit.to_string(),
        lower => format!("[{digit}{lower}]"),
    });
    format!("%{}", digits.collect::<String>())
}
