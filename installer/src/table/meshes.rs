//! The settings' `mesh`: which meshes get the table.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::problem::InvalidValue;

/// One or several meshes. A cluster has several side by side during a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meshes(BTreeSet<MeshKind>);

impl Meshes {
    /// Whether `kind` is one of them.
    #[must_use]
    pub fn has(&self, kind: MeshKind) -> bool {
        self.0.contains(&kind)
    }

    /// The meshes that are not in `others`.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        Self(self.0.difference(&others.0).copied().collect())
    }

    /// Whether there is no mesh.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether at least one of them gets the table as HTTPRoutes.
    #[must_use]
    pub fn take_http_routes(&self) -> bool {
        self.has(MeshKind::Linkerd) || self.has(MeshKind::GatewayApi)
    }
}

impl Default for Meshes {
    fn default() -> Self {
        Self(BTreeSet::from([MeshKind::Istio]))
    }
}

impl FromIterator<MeshKind> for Meshes {
    fn from_iter<I: IntoIterator<Item = MeshKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().collect())
    }
}

impl FromStr for Meshes {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        text.split(',').map(|name| name.trim().parse()).collect()
    }
}

impl fmt::Display for Meshes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|kind| kind.name()).collect();
        f.write_str(&names.join(","))
    }
}

/// A kind of mesh, by what routes its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum MeshKind {
    /// Istio with sidecars: the filter
    Istio,
    /// Linkerd: HTTPRoutes
    Linkerd,
    /// Any other mesh of the Gateway API, such as Istio ambient: HTTPRoutes
    GatewayApi,
}

impl MeshKind {
    const ALL: [Self; 3] = [Self::Istio, Self::Linkerd, Self::GatewayApi];

    const fn name(self) -> &'static str {
        match self {
            Self::Istio => "istio",
            Self::Linkerd => "linkerd",
            Self::GatewayApi => "gateway-api",
        }
    }
}

impl FromStr for MeshKind {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let expected = "`istio`, `linkerd` or `gateway-api`, or several, separated by commas";
            InvalidValue::new("mesh", text, expected)
        })
    }
}
