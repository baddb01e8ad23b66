//! The decision header: which requests may ask for it, and what it contains.

use core::{error::Error, fmt, str::FromStr};

use crate::{decision::Decision, reason::Reason, serde_as_text::serde_as_text};

/// Which requests may ask for the decision header.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Explain {
    /// No request. The filter does not read [`EXPLAIN_HEADER`] at all.
    #[default]
    Off,
    /// Every request with `x-skycap-explain: 1`.
    On,
    /// Every request whose `x-skycap-explain` is this token.
    Token(String),
}

impl Explain {
    /// Whether no request may ask.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }

    /// Whether a request whose [`EXPLAIN_HEADER`] has this value gets the decision header.
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
    type Err = InvalidExplain;

    fn from_str(text: &str) -> Result<Self, InvalidExplain> {
        match (text, text.strip_prefix("token:")) {
            ("off", _) => Ok(Self::Off),
            ("on", _) => Ok(Self::On),
            (_, Some(token))
                if !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()) =>
            {
                Ok(Self::Token(token.into()))
            }
            _ => Err(InvalidExplain),
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

/// Hides the token, so that a log of the configuration does not contain it.
impl fmt::Debug for Explain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "Off",
            Self::On => "On",
            Self::Token(_) => "Token(…)",
        })
    }
}

/// A text that is not a value of [`Explain`]. The error does not contain the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidExplain;

impl fmt::Display for InvalidExplain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "invalid value (not shown, because it may contain a token): expected `off`, `on` or \
             `token:TOKEN`, where TOKEN is visible ASCII",
        )
    }
}

impl Error for InvalidExplain {}

/// The value of `x-skycap-decision` for one hop.
///
/// The value is a member of a list of Structured Fields (RFC 9651), so several hops form one list:
/// `"cart.shop:80";reason=routed;key="pr-1";carrier="baggage sandbox";route="cart.shop";`
/// `target="cart-pr-1.shop:80";table="6d1f0c9a22b4"`. The item is the destination, or `"-"` if it
/// is unknown. Other unknown parts are left out. No string needs an escape: destinations, keys and
/// targets are names, and carriers are checked when the table is read.
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
            let labels: Vec<_> = decision.drops.iter().map(Reason::label).collect();
            write!(f, ";dropped=\"{}\"", labels.join(" "))?;
        }
        write!(f, ";table=\"{}\"", decision.table().config().generation)
    }
}

/// The request header that asks for the decision header.
pub const EXPLAIN_HEADER: &str = "x-skycap-explain";

/// The response header with the decision: one line for each hop, the innermost hop first.
pub const DECISION_HEADER: &str = "x-skycap-decision";

serde_as_text!(Explain);
