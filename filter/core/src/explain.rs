//! Which requests may ask for the decision header.

use core::{error::Error, fmt, str::FromStr};

use sha2::{Digest as _, Sha256};

use crate::serde_as_text::serde_as_text;

/// Which requests may ask for the decision header.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Explain {
    /// No request. The filter does not read [`EXPLAIN_HEADER`] at all.
    #[default]
    Off,
    /// Every request with `x-skycap-explain: 1`.
    On,
    /// Every request whose `x-skycap-explain` is the token with this SHA-256 digest.
    ///
    /// The token itself is in no table, because everybody who may read a proxy's configuration can
    /// read the table.
    Token([u8; 32]),
}

impl Explain {
    /// Whether no request may ask.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }

    /// Whether a request whose [`EXPLAIN_HEADER`] has this value gets the decision header.
    // Not inlined: its stack frame would be set up for every request.
    #[inline(never)]
    #[must_use]
    pub fn allows(&self, value: &[u8]) -> bool {
        match self {
            Self::Off => false,
            Self::On => value == b"1",
            // Digests of different tokens differ from the start, so the time of the comparison tells
            // nothing about the token.
            Self::Token(digest) => Sha256::digest(value).as_slice() == digest,
        }
    }

    /// Whether the header holds a secret, which must not travel upstream.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        matches!(self, Self::Token(_))
    }
}

impl FromStr for Explain {
    type Err = InvalidExplain;

    fn from_str(text: &str) -> Result<Self, InvalidExplain> {
        if let Some(digest) = text.strip_prefix("sha256:") {
            return parse_digest(digest).map(Self::Token).ok_or(InvalidExplain);
        }
        match (text, text.strip_prefix("token:")) {
            ("off", _) => Ok(Self::Off),
            ("on", _) => Ok(Self::On),
            (_, Some(token))
                if !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()) =>
            {
                Ok(Self::Token(Sha256::digest(token).into()))
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
            Self::Token(digest) => {
                f.write_str("sha256:")?;
                digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// Reads 64 hexadecimal digits.
fn parse_digest(text: &str) -> Option<[u8; 32]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut digest = [0; 32];
    if pairs.len() != digest.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(pairs) {
        let text = core::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(text, 16).ok().filter(|_| pair.is_ascii() && pair[0] != b'+')?;
    }
    Some(digest)
}

/// Hides the digest, so that a log of the configuration does not contain it.
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
             `token:TOKEN`, where TOKEN is visible ASCII, or `sha256:` and the digest of a token",
        )
    }
}

impl Error for InvalidExplain {}

/// The request header that asks for the decision header.
pub const EXPLAIN_HEADER: &str = "x-skycap-explain";

serde_as_text!(Explain);
