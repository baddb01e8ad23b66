//! Whether the mesh has a table with the sandbox.
//!
//! # Which sidecars count
//!
//! A sidecar that was up to date once since the sandbox is in the table serves the sandbox, also if the
//! table has changed again since: a busy cluster's table changes with every other sandbox. So what is
//! waited for is the set of sidecars that were behind at the first look, less those that were up to
//! date at any later one. A sidecar that starts in between gets the current table.
//!
//! A sidecar of another namespace whose metrics cannot be read, or whose module does not run, is not
//! waited for: the owner of the sandbox cannot repair it. It is counted and named.

use std::collections::BTreeMap;

use anyhow::Context as _;
use kube::{Api, Client, ResourceExt as _, api::ListParams, core::DynamicObject};
use skycap_core::config::PluginConfig;

use super::{Awaited, compiled::Compiled};
use crate::{
    desired::published::Summary,
    names::KEYS_ANNOTATION,
    objects::{is_owned, resource},
    observed::{
        acceptance::Acceptance,
        api,
        causes::{causes, is_forbidden},
        sidecars::{
            MissingPermission,
            uptake::{Lag, Uptake},
        },
    },
    table::{meshes::MeshKind, policies::PolicyKind},
};

/// What the looks so far have found in the meshes.
#[derive(Debug, Default)]
pub(super) struct MeshProgress {
    /// The generation that was last seen in Istio's plugin.
    in_plugin: Option<String>,
    sidecars: Option<Uptake>,
    /// What this user may not read.
    unread: Vec<String>,
    http_routes: Option<usize>,
}

impl MeshProgress {
    /// Forgets the looks, because the sandbox is not in the table.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Looks into the meshes. Returns what is missing; `None` if nothing is.
    pub(super) async fn look(
        &mut self,
        awaited: &Awaited<'_>,
        client: &Client,
        summary: &Summary,
        compiled: &Compiled,
    ) -> anyhow::Result<Option<String>> {
        if awaited.meshes.has(MeshKind::Istio) {
            let missing = self.look_into_plugin(awaited, client, summary, compiled).await?;
            if missing.is_some() {
                return Ok(missing);
            }
            self.look_into_sidecars(awaited, client, summary).await?;
            if let Some(missing) = self.sidecars_behind(awaited.namespace) {
                return Ok(Some(missing));
            }
        }
        if awaited.meshes.take_http_routes() {
            let found = http_routes(client, awaited.namespace, compiled).await?;
            match found {
                Ok(accepted) => self.http_routes = Some(accepted),
                Err(missing) => return Ok(Some(missing)),
            }
        }
        Ok(None)
    }

    /// The sidecars and the HTTPRoutes, after the last look. Adds to `notes` what was not waited for.
    pub(super) fn result(&mut self, notes: &mut Vec<String>) -> (Option<Uptake>, Option<usize>) {
        notes.append(&mut self.unread);
        let sidecars = self.sidecars.take().filter(|sidecars| sidecars.asked > 0);
        let problems = sidecars.as_ref().map(Uptake::problems).unwrap_or_default();
        notes.extend(problems.iter().map(ToString::to_string));
        (sidecars, self.http_routes)
    }

    async fn look_into_plugin(
        &mut self,
        awaited: &Awaited<'_>,
        client: &Client,
        summary: &Summary,
        compiled: &Compiled,
    ) -> anyhow::Result<Option<String>> {
        let generation = &summary.generation;
        if self.in_plugin.as_ref() == Some(generation) {
            return Ok(None);
        }
        let references = awaited.istio.references();
        let plugin = references.get(..1).unwrap_or_default();
        let live = api::read(client, plugin).await?;
        let Some(table) = awaited.istio.table_of(&live) else {
            let missing = "the mesh has no table; `skycap status` shows why";
            return Ok(Some(missing.into()));
        };
        if table["generation"].as_str() != Some(generation) {
            return Ok(Some("the mesh has an older table".into()));
        }
        if !compiled.is_listed {
            let config = PluginConfig::from_json(table.to_string().as_bytes());
            let config = config.context("the filter would reject the mesh's table")?;
            if !config.keys.iter().any(|(key, _)| key == compiled.key.as_str()) {
                return Ok(Some(format!("the table does not have key `{}` yet", compiled.key)));
            }
        }
        self.in_plugin = Some(generation.clone());
        Ok(None)
    }

    /// Reads the sidecars of all namespaces, or else of the sandbox's own.
    async fn look_into_sidecars(
        &mut self,
        awaited: &Awaited<'_>,
        client: &Client,
        summary: &Summary,
    ) -> anyhow::Result<()> {
        let current = summary.generation.parse().ok();
        let plugin = awaited.istio.plugin_name();
        self.unread.clear();
        for namespace in [None, Some(awaited.namespace)] {
            match Uptake::read(client, namespace, &plugin, current).await {
                Ok(uptake) => {
                    self.add(uptake);
                    return Ok(());
                }
                Err(error) if is_forbidden(&error) || error.is::<MissingPermission>() => {
                    let place = namespace.map_or_else(
                        || "other namespaces".to_owned(),
                        |namespace| format!("namespace `{namespace}`"),
                    );
                    let why = causes(error.as_ref());
                    self.unread.push(format!("the sidecars of {place} were not checked: {why}"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Keeps of the sidecars that were behind so far those that still are.
    fn add(&mut self, uptake: Uptake) {
        let mut uptake = uptake;
        if let Some(before) = &self.sidecars {
            uptake.behind.retain(|pod, _| before.behind.contains_key(pod));
            uptake.current = uptake.asked.saturating_sub(uptake.behind.len());
        }
        self.sidecars = Some(uptake);
    }

    fn sidecars_behind(&self, namespace: &str) -> Option<String> {
        let uptake = self.sidecars.as_ref()?;
        let (pod, lag) = uptake.behind.iter().find(|(pod, lag)| is_awaited(pod, lag, namespace))?;
        Some(format!("{}; {pod}: {lag}", uptake.summary()))
    }
}

/// Whether a sidecar that is behind is waited for.
fn is_awaited(pod: &str, lag: &Lag, namespace: &str) -> bool {
    let is_own = pod.split('/').next() == Some(namespace);
    is_own || matches!(lag, Lag::Outdated | Lag::NoTable)
}

/// How many HTTPRoutes with the key are accepted, or what is missing. Each Service that the sandbox
/// replaces needs one.
async fn http_routes(
    client: &Client,
    namespace: &str,
    compiled: &Compiled,
) -> anyhow::Result<Result<usize, String>> {
    let (api_version, kind) = PolicyKind::HttpRoute.names();
    let routes = Api::<DynamicObject>::namespaced_with(
        client.clone(),
        namespace,
        &resource(api_version, kind),
    );
    let routes = routes.list(&ListParams::default()).await;
    let routes = routes.with_context(|| format!("cannot list the {kind}s of `{namespace}`"))?;
    let key = compiled.key.as_str();
    let has_key = |route: &&DynamicObject| {
        let keys = route.annotations().get(KEYS_ANNOTATION);
        is_owned(route) && keys.is_some_and(|keys| keys.split(' ').any(|other| other == key))
    };
    let mut parents = BTreeMap::new();
    for route in routes.iter().filter(has_key) {
        match Acceptance::of(route) {
            Acceptance::Accepted => {
                for parent in route.data["spec"]["parentRefs"].as_array().into_iter().flatten() {
                    *parents
                        .entry(parent["name"].as_str().unwrap_or_default().to_owned())
                        .or_insert(0) += 1;
                }
            }
            Acceptance::Pending => {
                return Ok(Err(format!("no mesh has accepted {kind} {} yet", route.name_any())));
            }
            Acceptance::Rejected(rejection) => {
                return Ok(Err(format!("{kind} {}: {rejection}", route.name_any())));
            }
        }
    }
    let without = compiled.routes.iter().find(|route| !parents.contains_key(&route.service));
    Ok(match without {
        Some(route) => {
            Err(format!("Service `{}` has no {kind} for key `{key}` yet", route.service))
        }
        None => Ok(parents.values().sum()),
    })
}
