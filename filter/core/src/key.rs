//! The routing key: the name of a sandbox or a group in a request.

use core::{error::Error, fmt, str};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::limits::KEY_BYTES;

/// A routing key: 1 to 64 bytes of `[A-Za-z0-9._~-]`, case-sensitive.
///
/// Every OpenTelemetry SDK writes these bytes into baggage unescaped. A key is stored inline, so
/// that reading one from a request does not allocate.
#[derive(Clone, Copy)]
pub struct RoutingKey {
    /// Filled with zeros after `len`.
    bytes: [u8; KEY_BYTES],
    len: u8,
}

impl RoutingKey {
    /// Reads a key from bytes of a request or of a configuration.
    ///
    /// # Errors
    /// Returns [`InvalidKey`] if there are no bytes, more than 64, or other bytes than a key may
    /// contain.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidKey> {
        Self::collect(bytes.iter().copied(), None)
    }

    /// Reads a key from an iterator, such as that of percent-decoded bytes, up to its end or to the
    /// byte `end`, which no key contains.
    pub(crate) fn collect(
        source: impl Iterator<Item = u8>,
        end: Option<u8>,
    ) -> Result<Self, InvalidKey> {
        let mut bytes = [0; KEY_BYTES];
        let mut len = 0_u8;
        for byte in source {
            if !is_key_byte(byte) {
                if Some(byte) == end {
                    break;
                }
                return Err(InvalidKey::Charset);
            }
            *bytes.get_mut(usize::from(len)).ok_or(InvalidKey::TooLong)? = byte;
            len = len.saturating_add(1);
        }
        if len == 0 {
            return Err(InvalidKey::Empty);
        }
        Ok(Self { bytes, len })
    }

    /// The bytes of the key. All of them are ASCII.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

/// Why some bytes are not a routing key.
///
/// Its `Display` completes a sentence: "it …".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidKey {
    /// There is a byte outside `[A-Za-z0-9._~-]`.
    Charset,
    /// There are no bytes.
    Empty,
    /// There are more than [`KEY_BYTES`] bytes.
    TooLong,
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Charset => f.write_str("contains a byte outside `A-Z a-z 0-9 . _ ~ -`"),
            Self::Empty => f.write_str("is empty"),
            Self::TooLong => write!(f, "is longer than {KEY_BYTES} bytes"),
        }
    }
}

impl Error for InvalidKey {}

impl str::FromStr for RoutingKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for RoutingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for RoutingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl PartialEq for RoutingKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for RoutingKey {}

impl Ord for RoutingKey {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for RoutingKey {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl core::hash::Hash for RoutingKey {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl Serialize for RoutingKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for RoutingKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(|error| {
            D::Error::custom(format_args!("invalid routing key `{text}`: it {error}"))
        })
    }
}

const fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-')
}
