//! Names of Kubernetes: Services, their namespaces, the cluster's domain.

use core::{fmt, str::FromStr};

use crate::{key::RoutingKey, serde_as_text::serde_as_text};

/// A Service and its namespace, written `cart.shop`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    text: String,
    /// Where the dot is.
    dot: usize,
}

impl ServiceName {
    /// The Service `name` of `namespace`.
    ///
    /// # Errors
    /// [`InvalidName`] when either is no DNS label.
    pub fn new(name: &str, namespace: &str) -> Result<Self, InvalidName> {
        check_label(name)?;
        check_label(namespace)?;
        Ok(Self { text: format!("{name}.{namespace}"), dot: name.len() })
    }

    /// `cart` of `cart.shop`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.split_at(self.dot).0
    }

    /// `shop` of `cart.shop`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.text.split_at(self.dot).1.trim_start_matches('.')
    }

    /// `cart.shop`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for ServiceName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (name, namespace) = text.split_once('.').ok_or_else(|| {
            InvalidName::new(text, "a Service with its namespace, as `cart.shop`")
        })?;
        Self::new(name, namespace)
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// The name of a target: `cart-v2`, or with the key in it, `cart-{key}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetPattern {
    before: String,
    /// What follows the key, where the name has one.
    after: Option<String>,
}

impl TargetPattern {
    /// Where the key stands in a pattern.
    pub const KEY: &str = "{key}";

    /// The pattern that gives `name` for `key`: its last occurrence becomes `{key}`, since most
    /// names end with the key, and a short key may stand in the Service's name too.
    ///
    /// # Errors
    /// [`InvalidName`] when `name` is no DNS label.
    pub fn from_name(name: &str, key: &RoutingKey) -> Result<Self, InvalidName> {
        check_label(name)?;
        Ok(match name.rsplit_once(key.as_str()) {
            Some((before, after)) => Self { before: before.into(), after: Some(after.into()) },
            None => Self { before: name.into(), after: None },
        })
    }

    /// The name for `key`, in parts to be written one after the other.
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
        // With a letter for the key, what is around it must make a DNS label.
        check_label(
            &[before, if after.is_some() { "k" } else { "" }, after.unwrap_or("")].concat(),
        )
        .map_err(|_| InvalidName::new(text, "a Service name, with or without one `{key}`"))?;
        Ok(Self { before: before.into(), after: after.map(Into::into) })
    }
}

impl fmt::Display for TargetPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.before)?;
        self.after.as_ref().map_or(Ok(()), |after| write!(f, "{}{after}", Self::KEY))
    }
}

/// The DNS domain under which the cluster's Services have their names.
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
            return Err(InvalidName::new(text, "a DNS name, as `cluster.local`"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for ClusterDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A name that Kubernetes would not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not {expected}")]
pub struct InvalidName {
    name: String,
    expected: &'static str,
}

impl InvalidName {
    pub(crate) fn new(name: &str, expected: &'static str) -> Self {
        Self { name: name.into(), expected }
    }
}

/// Refuses what is no DNS label (RFC 1123 section 2.1, as Kubernetes has it).
///
/// # Errors
/// [`InvalidName`].
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
