//! Whether a sandbox is served: from its ConfigMap to the proxies that send its requests.
//!
//! A sandbox is served when all of these are true:
//!
//! 1. Its ConfigMap is there, valid, enabled and not expired.
//! 2. The controller has compiled the ConfigMap as it is now, and reports no problem of its routes. The
//!    modules `compiled` and `mesh` say what this means.
//! 3. The mesh has that table: on Istio in the plugin and in the sidecars, on a mesh of the Gateway API
//!    in HTTPRoutes that are accepted.
//!
//! Who waits may be a developer with rights in one namespace and the role `skycap-reader`. What this
//! user may not read is not waited for, and [`Served::notes`] says so.

mod compiled;
mod mesh;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use serde::Serialize;

use self::{
    compiled::{Compiled, Stage},
    mesh::MeshProgress,
};
use crate::{
    desired::istio::IstioMesh,
    observed::{
        causes::{causes, is_forbidden},
        published::read_published,
        sidecars::uptake::Uptake,
    },
    table::{
        meshes::Meshes,
        report::{FragmentReport, RouteReport},
    },
};

/// Which sandbox or group to wait for, and in which meshes.
#[derive(Debug, Clone, Copy)]
pub struct Awaited<'a> {
    /// The namespace of its ConfigMap.
    pub namespace: &'a str,
    /// The name of its ConfigMap.
    pub name: &'a str,
    /// The meshes that get the table.
    pub meshes: &'a Meshes,
    /// skycap's objects on Istio, if Istio is among the meshes.
    pub istio: &'a IstioMesh,
}

/// A sandbox or group that is served.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Served {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its routing key.
    pub key: String,
    /// The generation of the table that is served.
    pub generation: String,
    /// Its own routes.
    pub routes: Vec<RouteReport>,
    /// How many of Istio's sidecars are up to date; `None` where there are none to ask, or none that
    /// the user may ask.
    pub sidecars: Option<Uptake>,
    /// How many HTTPRoutes with its key are accepted; `None` where the mesh takes none.
    pub http_routes: Option<usize>,
    /// Whether it has nothing to route, as a fork that no Service selects.
    #[serde(skip)]
    pub is_idle: bool,
    /// What could not be checked, and what is wrong beside its routes.
    pub notes: Vec<String>,
}

impl Served {
    /// Who serves it, as "12 of 12 sidecars are up to date".
    #[must_use]
    pub fn summary(&self) -> String {
        if self.is_idle {
            return "it replaces no Service, so there is nothing to wait for".into();
        }
        let sidecars = self.sidecars.as_ref().map(Uptake::summary);
        let routes = self.http_routes.map(|accepted| format!("{accepted} HTTPRoutes are accepted"));
        let parts: Vec<_> = sidecars.into_iter().chain(routes).collect();
        if parts.is_empty() { "the mesh has its table".into() } else { parts.join(", ") }
    }
}

impl Awaited<'_> {
    /// Waits until the sandbox is served, and tells `progress` what is still missing.
    ///
    /// The first look fails at once if the API server does; later ones are repeated.
    ///
    /// # Errors
    /// The ConfigMap is refused or has expired, a permission is missing, or the sandbox is not served
    /// in time. The text says what is missing.
    pub async fn until_served(
        &self,
        client: &Client,
        timeout: Duration,
        mut progress: impl FnMut(&str),
    ) -> anyhow::Result<Served> {
        let Self { namespace, name, .. } = self;
        let deadline = Instant::now() + timeout;
        let mut mesh = MeshProgress::default();
        let mut has_looked = false;
        loop {
            let why = match self.look(client, &mut mesh).await {
                Ok(Look::Served(served)) => return Ok(*served),
                Ok(Look::Waiting(why)) => why,
                Err(error) if !has_looked || is_forbidden(&error) || error.is::<Refused>() => {
                    return Err(error);
                }
                Err(error) => causes(error.as_ref()),
            };
            has_looked = true;
            progress(&why);
            anyhow::ensure!(
                Instant::now() < deadline,
                "timed out after {} s: {namespace}/{name} is not served yet: {why}",
                timeout.as_secs()
            );
            tokio::time::sleep(POLL).await;
        }
    }

    async fn look(&self, client: &Client, mesh: &mut MeshProgress) -> anyhow::Result<Look> {
        let Self { namespace, name, .. } = *self;
        let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
        let map = maps.get_opt(name).await;
        let map = map.with_context(|| format!("cannot read ConfigMap {namespace}/{name}"))?;
        let published = read_published(client).await;
        let Some(map) = map else {
            // Who may not read the report still gets to know that it is not there.
            let fragments = published.map(|(_, report)| report.fragments).unwrap_or_default();
            return Err(Refused(not_found(namespace, name, &fragments)).into());
        };
        let (summary, report) = published?;
        let compiled = match Stage::of(&map, &summary, &report, Timestamp::now()) {
            Stage::Refused(why) => return Err(Refused(why).into()),
            Stage::Waiting(why) => {
                mesh.reset();
                return Ok(Look::Waiting(why));
            }
            Stage::Compiled(compiled) => compiled,
        };
        if !compiled.is_idle
            && let Some(why) = mesh.look(self, client, &summary, &compiled).await?
        {
            return Ok(Look::Waiting(why));
        }
        let Compiled { key, routes, mut notes, is_idle, .. } = compiled;
        let (sidecars, http_routes) = mesh.result(&mut notes);
        Ok(Look::Served(Box::new(Served {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            key: key.to_string(),
            generation: summary.generation,
            routes,
            sidecars,
            http_routes,
            is_idle,
            notes,
        })))
    }
}

/// That there is no such sandbox, with the one that is most like it.
fn not_found(namespace: &str, name: &str, fragments: &[FragmentReport]) -> String {
    let own = fragments.iter().filter(|one| one.namespace == namespace);
    let names: Vec<_> = own.map(|one| one.name.as_str()).collect();
    let elsewhere = fragments.iter().find(|one| one.name == name);
    let hint = match (similar::get_close_matches(name, &names, 1, 0.6).first(), elsewhere) {
        (_, Some(other)) => format!("there is one in namespace `{}`", other.namespace),
        (Some(nearest), None) => format!("did you mean `{nearest}`?"),
        (None, None) => format!("`skycap list -n {namespace}` lists those that are there"),
    };
    format!("there is no sandbox or group {namespace}/{name}; {hint}")
}

/// What one look has found.
enum Look {
    Served(Box<Served>),
    /// It is not served yet, for this reason.
    Waiting(String),
}

/// The ConfigMap cannot be served as it is, however long somebody waits.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

/// How often to look. A look reads the report, and then the metrics of up to 100 sidecars.
const POLL: Duration = Duration::from_millis(200);
