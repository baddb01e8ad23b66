//! Names in Kubernetes: Services, namespaces and the cluster domain.

use core::{error::Error, fmt, str::FromStr};

use crate::{key::RoutingKey, serde_as_text::serde_as_text};

/// A Service and its namespace, written as `cart.shop`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    text: String,
    /// The index of the dot between the name and the namespace.
    dot: usize,
}

impl ServiceName {
    /// The Service `name` in `namespace`.
    ///
    /// # Errors
    /// Returns [`InvalidName`] if one of them is not a DNS label.
    pub fn new(name: &str, namespace: &str) -> Result<Self, InvalidName> {
        check_label(name)?;
        check_label(namespace)?;
        Ok(Self { text: format!("{name}.{namespace}"), dot: name.len() })
    }

    /// The name: `cart` in `cart.shop`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.split_at(self.dot).0
    }

    /// The namespace: `shop` in `cart.shop`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.text.split_at(self.dot).1.trim_start_matches('.')
    }

    /// The name and the namespace: `cart.shop`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for ServiceName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (name, namespace) = text.split_once('.').ok_or_else(|| {
            InvalidName::new(text, "a Service and its namespace, such as `cart.shop`")
        })?;
        Self::new(name, namespace)
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// The name of a target, with or without the key: `cart-{key}` or `cart-v2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetPattern {
    before: String,
    /// The text after the key, or `None` if the name does not contain the key.
    after: Option<String>,
}

impl TargetPattern {
    /// The placeholder for the key.
    pub const KEY: &str = "{key}";

    /// The pattern that results in `name` for `key`.
    ///
    /// Only the last occurrence of the key is replaced by `{key}`: most names end with the key, and
    /// a short key may also occur in the name of the baseline Service.
    ///
    /// # Errors
    /// Returns [`InvalidName`] if `name` is not a DNS label.
    pub fn from_name(name: &str, key: &RoutingKey) -> Result<Self, InvalidName> {
        check_label(name)?;
        Ok(match name.rsplit_once(key.as_str()) {
            Some((before, after)) => Self { before: before.into(), after: Some(after.into()) },
            None => Self { before: name.into(), after: None },
        })
    }

    /// The name for `key`, in parts that the caller concatenates.
    #[must_use]
    pub fn parts<'a>(&'a self, key: &'a RoutingKey) -> [&'a str; 3] {
        match &self.after {
            Some(after) => [&self.before, key.as_str(), after],
            None => [&self.before, "", ""],
        }
    }

    /// The name for `key`.
    #[must_use]
    pub fn name(&self, key: &RoutingKey) -> String {
        self.parts(key).concat()
    }
}

impl FromStr for TargetPattern {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (before, after) = match text.split_once(Self::KEY) {
            Some((before, after)) => (before, Some(after)),
            None => (text, None),
        };
        // The text around the key is valid if it is a DNS label with a letter in place of the key.
        check_label(
            &[before, if after.is_some() { "k" } else { "" }, after.unwrap_or("")].concat(),
        )
        .map_err(|_| {
            InvalidName::new(text, "the name of a Service, with or without one `{key}`")
        })?;
        Ok(Self { before: before.into(), after: after.map(Into::into) })
    }
}

impl fmt::Display for TargetPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.before)?;
        self.after.as_ref().map_or(Ok(()), |after| write!(f, "{}{after}", Self::KEY))
    }
}

/// The DNS domain of the Services of a Kubernetes cluster: `cluster.local` by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDomain(String);

impl ClusterDomain {
    /// The domain, without a dot at either end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_default(&self) -> bool {
        self.0 == DEFAULT_DOMAIN
    }
}

impl Default for ClusterDomain {
    fn default() -> Self {
        Self(DEFAULT_DOMAIN.into())
    }
}

impl FromStr for ClusterDomain {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.len() > 253 || text.split('.').any(|label| check_label(label).is_err()) {
            return Err(InvalidName::new(text, "a DNS name, such as `cluster.local`"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for ClusterDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A name that Kubernetes would not accept, and a description of the names that it accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidName {
    name: String,
    expected: &'static str,
}

impl InvalidName {
    /// An error for `name`. `expected` completes the sentence "expected …".
    fn new(name: &str, expected: &'static str) -> Self {
        Self { name: name.into(), expected }
    }
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, expected } = self;
        write!(f, "invalid name `{name}`: expected {expected}")
    }
}

impl Error for InvalidName {}

/// Checks that `text` is a DNS label (RFC 1123 section 2.1, as Kubernetes restricts it).
///
/// # Errors
/// Returns [`InvalidName`] if it is not.
pub fn check_label(text: &str) -> Result<(), InvalidName> {
    let edges = [text.bytes().next(), text.bytes().next_back()];
    let well_formed = text.len() <= 63
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && edges.iter().all(|edge| edge.is_some_and(|byte| byte != b'-'));
    if well_formed {
        return Ok(());
    }
    Err(InvalidName::new(text, "a DNS label (1 to 63 of `a-z 0-9 -`, no `-` at either end)"))
}

const DEFAULT_DOMAIN: &str = "cluster.local";

serde_as_text!(ServiceName, TargetPattern, ClusterDomain);
