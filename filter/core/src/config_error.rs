//! Why a configuration is rejected.

use core::{error::Error, fmt};

use serde_path_to_error::Segment;

use crate::{limits::CARRIERS, version::Version};

/// The reason why a configuration is rejected. No part of the configuration can be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no carrier, or there are more than [`CARRIERS`].
    Carriers {
        /// The number of carriers.
        found: usize,
    },
    /// A key has two entries in `keys`.
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// The text is not JSON, or the JSON does not match the schema.
    Json {
        /// The field with the error.
        path: Path,
        /// The error of serde, with line and column.
        source: serde_json::Error,
    },
    /// A key lists the number of a route that does not exist.
    NoSuchRoute {
        /// The key.
        key: String,
        /// The number that the key lists.
        route: u32,
        /// The number of routes in the configuration.
        routes: usize,
    },
    /// The JSON is an array.
    NotAnObject,
    /// A field is not part of this version of the schema.
    UnknownField {
        /// The field.
        path: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Carriers { found } => {
                write!(f, "`carriers`: expected 1 to {CARRIERS} carriers, found {found}")
            }
            Self::DuplicateKey { key } => {
                write!(f, "`keys`: duplicate key `{key}`; merge its entries into one")
            }
            Self::Json { path, source } => write!(f, "{path}: {source}"),
            Self::NoSuchRoute { key, route, routes } => write!(
                f,
                "`keys`: invalid route number `{route}` for key `{key}`: expected a number below \
                 {routes}, the length of `routes`"
            ),
            Self::NotAnObject => {
                f.write_str("pluginConfig: invalid type: array, expected an object")
            }
            Self::UnknownField { path } => write!(
                f,
                "unknown field `{path}`: expected a field of schema version {}; check the spelling",
                Version::CURRENT
            ),
        }
    }
}

/// [`Error::source`] is `None` for every variant: the message contains the error of serde already.
impl Error for ConfigError {}

/// A place in a JSON document, such as `routes[3].port`.
#[derive(Debug)]
pub struct Path(Option<serde_path_to_error::Path>);

impl Path {
    /// The whole document.
    pub(crate) const fn root() -> Self {
        Self(None)
    }
}

impl From<serde_path_to_error::Path> for Path {
    fn from(path: serde_path_to_error::Path) -> Self {
        // `Unknown` is the only segment if the text ends between two fields.
        let is_known = |segment: &Segment| !matches!(segment, Segment::Unknown);
        Self(Some(path).filter(|path| path.iter().any(is_known)))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(path) => write!(f, "`{path}`"),
            None => f.write_str("pluginConfig"),
        }
    }
}
