//! The decision header: one request's way through one hop, in one line.

use core::{fmt, str::FromStr};

use crate::{decision::Decision, serde_as_text::serde_as_text};

/// Who may ask for the decision header.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Explain {
    /// Nobody: the filter does not even look.
    #[default]
    Off,
    /// Whoever sends `x-skycap-explain: 1`.
    On,
    /// Whoever sends `x-skycap-explain` with this token.
    Token(String),
}

impl Explain {
    /// Whether nobody may ask.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }

    /// Whether a request whose [`EXPLAIN_HEADER`] has this value gets its answer.
    #[must_use]
    pub fn allows(&self, value: &[u8]) -> bool {
        match self {
            Self::Off => false,
            Self::On => value == b"1",
            Self::Token(token) => value == token.as_bytes(),
        }
    }
}

impl FromStr for Explain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("token:")) {
            ("off", _) => Ok(Self::Off),
            ("on", _) => Ok(Self::On),
            (_, Some(token))
                if !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()) =>
            {
                Ok(Self::Token(token.into()))
            }
            // The text may hold a token, so it is not repeated.
            _ => Err("explain is neither `off`, `on` nor `token:` with visible ASCII".into()),
        }
    }
}

impl fmt::Display for Explain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::On => f.write_str("on"),
            Self::Token(token) => write!(f, "token:{token}"),
        }
    }
}

/// A token is a secret of sorts: what logs a configuration must not log it.
impl fmt::Debug for Explain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "Off",
            Self::On => "On",
            Self::Token(_) => "Token(…)",
        })
    }
}

/// The value of `x-skycap-decision` for one hop.
///
/// A member of a list of Structured Fields (RFC 9651), so that several hops make one list:
/// `"cart.shop:80";reason=routed;key="pr-1";carrier="baggage sandbox";route="cart.shop";`
/// `target="cart-pr-1.shop:80";table="6d1f0c9a22b4"`. What is not known is left out; the item is
/// the destination, or `"-"`. Every string is of ASCII that needs no escape: destinations, keys
/// and targets are names, and carriers are checked when the table is read.
#[derive(Debug, Clone, Copy)]
pub struct Explanation<'a>(pub &'a Decision<'a>);

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decision = self.0;
        match &decision.destination {
            Some(destination) => write!(f, "\"{destination}\"")?,
            None => f.write_str("\"-\"")?,
        }
        write!(f, ";reason={}", decision.reason.label())?;
        if let Some((key, carrier)) = &decision.key {
            write!(f, ";key=\"{key}\";carrier=\"{}\"", carrier.source.label())?;
        }
        if let Some(route) = decision.route {
            write!(f, ";route=\"{}", route.service)?;
            route.port.map_or(Ok(()), |port| write!(f, ":{port}"))?;
            f.write_str("\"")?;
        }
        if let Some((name, port)) = decision.target() {
            write!(f, ";target=\"{name}:{port}\"")?;
        }
        if !decision.drops.is_empty() {
            let labels: Vec<_> = decision.drops.iter().map(crate::reason::Reason::label).collect();
            write!(f, ";dropped=\"{}\"", labels.join(" "))?;
        }
        write!(f, ";table=\"{}\"", decision.table().config().generation)
    }
}

/// Asks for the decision header.
pub const EXPLAIN_HEADER: &str = "x-skycap-explain";

/// Answers with the decision: one line for each hop, the innermost first.
pub const DECISION_HEADER: &str = "x-skycap-decision";

serde_as_text!(Explain);
