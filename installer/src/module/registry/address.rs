//! The URL of a module in a registry.

use std::{fmt, str::FromStr};

use oci_client::Reference;

/// A module's URL: `oci://REGISTRY/REPOSITORY:TAG`, or `…@sha256:DIGEST`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Reference);

/// A text that is not the URL of a module in a registry.
#[derive(Debug, thiserror::Error)]
#[error("invalid address `{0}`: expected `oci://REGISTRY/REPOSITORY:TAG`")]
pub struct InvalidAddress(String);

impl Address {
    /// The same repository with a digest instead of a tag.
    #[must_use]
    pub fn pinned(&self, digest: &str) -> String {
        format!("{SCHEME}{}/{}@{digest}", self.0.registry(), self.0.repository())
    }

    /// Its digest; `None` if it has a tag.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.0.digest()
    }

    /// Where cosign puts the signatures of the artifact with this digest.
    #[must_use]
    pub fn signatures_of(&self, digest: &str) -> Self {
        let tag = format!("{}.sig", digest.replace(':', "-"));
        let (registry, repository) = (self.0.registry().into(), self.0.repository().into());
        Self(Reference::with_tag(registry, repository, tag))
    }

    pub(super) const fn reference(&self) -> &Reference {
        &self.0
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let reference = text.strip_prefix(SCHEME).and_then(|bare| bare.parse().ok());
        reference.map(Self).ok_or_else(|| InvalidAddress(text.into()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.0)
    }
}

/// The scheme that Istio requires in front of a reference.
const SCHEME: &str = "oci://";
