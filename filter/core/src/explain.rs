//! Which requests may ask for the decision header.

use core::{error::Error, fmt, str::FromStr};

use crate::serde_as_text::serde_as_text;

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

/// The request header that asks for the decision header.
pub const EXPLAIN_HEADER: &str = "x-skycap-explain";

serde_as_text!(Explain);
