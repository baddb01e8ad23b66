//! The version of the schema and the generation of a table.

use core::{error::Error, fmt, str::FromStr};

use crate::{invalid_value::InvalidValue, serde_as_text::serde_as_text};

/// The version of the schema of [`PluginConfig`](crate::config::PluginConfig), as `major.minor`.
///
/// A newer minor version may add optional fields, which an older filter ignores. A newer major
/// version is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    major: u16,
    minor: u16,
}

impl Version {
    /// The version that this code writes.
    pub const CURRENT: Self = Self { major: 1, minor: 1 };

    /// Whether a configuration of this version may have optional fields that this code does not
    /// know.
    #[must_use]
    pub const fn is_newer(self) -> bool {
        self.minor > Self::CURRENT.minor
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let (major, minor) = text
            .split_once('.')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
            .ok_or_else(|| InvalidVersion::malformed(text))?;
        let version = Self { major, minor };
        if major == Self::CURRENT.major {
            Ok(version)
        } else {
            Err(InvalidVersion::Unsupported(version))
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A version that this code cannot read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidVersion {
    /// The text is not a version.
    Malformed(InvalidValue),
    /// The version has another major number than [`Version::CURRENT`].
    Unsupported(Version),
}

impl InvalidVersion {
    fn malformed(text: &str) -> Self {
        Self::Malformed(InvalidValue::new(text, "`MAJOR.MINOR`, such as `1.0`"))
    }
}

impl fmt::Display for InvalidVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => error.fmt(f),
            Self::Unsupported(version) => write!(
                f,
                "unsupported version `{version}`: expected `{}.x`; use the same release of skycap \
                 for controller and filter",
                Version::CURRENT.major
            ),
        }
    }
}

impl Error for InvalidVersion {}

/// A hash of a table's content: 48 bits, written as 12 hexadecimal digits. Zero means no hash.
///
/// It has 48 bits because a gauge in Envoy's stats represents them exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Generation(u64);

impl Generation {
    /// Hashes `bytes`: FNV-1a of 64 bits, folded to 48.
    ///
    /// `std`'s hasher is not used, because its result may change between Rust releases.
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
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let number = u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 12);
        number.map(Self).ok_or_else(|| InvalidValue::new(text, "12 hexadecimal digits"))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

serde_as_text!(Version, Generation);
