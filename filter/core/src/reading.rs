//! The result of reading a carrier, and the grammar rules that several carriers share.

use crate::{key::RoutingKey, reason::Reason};

/// The result of reading one carrier: a key, nothing, or a value that was dropped for a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading(Result<RoutingKey, Option<Reason>>);

impl Reading {
    /// The carrier contains `key`.
    pub(crate) const fn key(key: RoutingKey) -> Self {
        Self(Ok(key))
    }

    /// The carrier is absent from the request.
    pub(crate) const fn absent() -> Self {
        Self(Err(None))
    }

    /// The carrier is present, and its value was dropped for `reason`.
    pub(crate) const fn dropped(reason: Reason) -> Self {
        Self(Err(Some(reason)))
    }

    /// The carrier contains `value`, not decoded. It is dropped if it is not a routing key.
    pub(crate) fn of(value: &[u8]) -> Self {
        RoutingKey::parse(value).map_or_else(|_| Self::dropped(Reason::InvalidKey), Self::key)
    }

    /// The key, if the carrier contains one.
    ///
    /// # Errors
    /// Returns the reason of the drop, or `None` if the carrier is absent.
    pub const fn into_result(self) -> Result<RoutingKey, Option<Reason>> {
        self.0
    }
}

/// Removes spaces and tabs at both ends of `bytes` (OWS of RFC 9110 section 5.6.3).
pub(crate) fn trim_ows(bytes: &[u8]) -> &[u8] {
    let mut bytes = trim_ows_start(bytes);
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Removes spaces and tabs at the start of `bytes`.
pub(crate) fn trim_ows_start(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// Decodes each `%XX` in `text`. A `%` without two hexadecimal digits is kept as it is.
pub(crate) fn percent_decode(text: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut rest = text;
    core::iter::from_fn(move || {
        let (byte, behind) = match rest {
            [b'%', high, low, behind @ ..] => match hex_byte(*high, *low) {
                Some(byte) => (byte, behind),
                None => (b'%', rest.get(1..)?),
            },
            [byte, behind @ ..] => (*byte, behind),
            [] => return None,
        };
        rest = behind;
        Some(byte)
    })
}

/// The byte of two hexadecimal digits.
pub(crate) fn hex_byte(high: u8, low: u8) -> Option<u8> {
    Some(hex(high)? << 4 | hex(low)?)
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
        b'A'..=b'F' => Some(digit.wrapping_sub(b'A').wrapping_add(10)),
        _ => None,
    }
}
