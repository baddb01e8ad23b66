//! Why a configuration is refused.

use core::fmt;

/// A configuration that is refused whole; the table in place stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No carrier, or more than [`CARRIERS`](crate::limits::CARRIERS).
    #[error("`carriers` has {found} entries, expected 1 to 16")]
    Carriers {
        /// How many there are.
        found: usize,
    },
    /// A key stands twice in `keys`.
    #[error("`keys`, `{key}`: is there twice; merge the two")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// Not JSON, or not of the schema.
    #[error("{path}: {source}")]
    Json {
        /// Where.
        path: Path,
        /// What serde says, with line and column.
        source: serde_json::Error,
    },
    /// A key lists a route that is not there.
    #[error("`keys`, `{key}`: there is no route {route}, expected less than {routes}")]
    NoSuchRoute {
        /// The key.
        key: String,
        /// The number it lists.
        route: u32,
        /// How many routes there are.
        routes: usize,
    },
    /// A field that this version of the schema does not have.
    #[error(
        "`{path}` is no field of version {}; check its spelling",
        crate::version::Version::CURRENT
    )]
    UnknownField {
        /// Where.
        path: String,
    },
}

/// A place in a JSON document, such as `routes[3].port`.
#[derive(Debug)]
pub struct Path(Option<serde_path_to_error::Path>);

impl Path {
    pub(crate) const fn root() -> Self {
        Self(None)
    }
}

impl From<serde_path_to_error::Path> for Path {
    fn from(path: serde_path_to_error::Path) -> Self {
        Self(Some(path).filter(|path| path.iter().next().is_some()))
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
