//! The schema's version and the table's generation.

use core::{fmt, str::FromStr};

use crate::serde_as_text::serde_as_text;

/// `major.minor` of the schema of [`PluginConfig`](crate::config::PluginConfig).
///
/// A newer minor may add optional fields, which an older filter ignores; a newer major is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    major: u16,
    minor: u16,
}

impl Version {
    /// The version that this code writes.
    pub const CURRENT: Self = Self { major: 1, minor: 0 };

    /// Whether the writer knows optional fields that this code does not.
    #[must_use]
    pub const fn is_newer(self) -> bool {
        self.minor > Self::CURRENT.minor
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (major, minor) = text
            .split_once('.')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
            .ok_or_else(|| format!("`{text}` is no version, expected `{}`", Self::CURRENT))?;
        if major == Self::CURRENT.major {
            Ok(Self { major, minor })
        } else {
            Err(format!("version `{text}` is not supported, expected `{}`", Self::CURRENT))
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A hash of a table's content: 48 bits, twelve hexadecimal digits, zero for none.
///
/// 48 bits, because a gauge holds them exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Generation(u64);

impl Generation {
    /// The generation of these bytes: FNV-1a of 64 bits, folded to 48.
    ///
    /// Not `std`'s hasher, whose result may change from release to release.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self((hash >> 48 ^ hash) & 0xffff_ffff_ffff)
    }

    /// The hash as a number below 2^48.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl FromStr for Generation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 12);
        number
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no generation, expected 12 hexadecimal digits"))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

serde_as_text!(Version, Generation);
