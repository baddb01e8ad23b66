//! The settings' `mesh`: which meshes get the table.

use std::collections::BTreeSet;

/// One or several meshes: side by side in one cluster during a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meshes(BTreeSet<MeshKind>);

/// A kind of mesh, by how it is told where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum MeshKind {
    /// Istio with sidecars: the filter
    Istio,
    /// Linkerd: HTTPRoutes
    Linkerd,
    /// Any other mesh of the Gateway API, such as Istio ambient: HTTPRoutes
    GatewayApi,
}

impl Meshes {
    /// Whether this one is among them.
    #[must_use]
    pub fn has(&self, kind: MeshKind) -> bool {
        self.0.contains(&kind)
    }

    /// Those that are not among `others`.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        Self(self.0.difference(&others.0).copied().collect())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them takes HTTPRoutes.
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

impl std::str::FromStr for Meshes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',').map(|name| kind(name.trim())).collect()
    }
}

impl std::fmt::Display for Meshes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.0.iter().map(|kind| kind.name()).collect();
        f.write_str(&names.join(","))
    }
}

impl MeshKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Istio => "istio",
            Self::Linkerd => "linkerd",
            Self::GatewayApi => "gateway-api",
        }
    }
}

fn kind(name: &str) -> Result<MeshKind, String> {
    [MeshKind::Istio, MeshKind::Linkerd, MeshKind::GatewayApi]
        .into_iter()
        .find(|kind| kind.name() == name)
        .ok_or_else(|| {
            format!("`{name}` is no mesh, expected of `istio`, `linkerd`, `gateway-api`, with commas between")
        })
}
