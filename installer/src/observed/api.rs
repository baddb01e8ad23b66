//! The API server: how a plan's objects are read, and how the plan is executed.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::DynamicObject,
    discovery,
};

use super::acceptance::Acceptance;
use crate::{
    desired::{
        istio::PluginKind,
        plan::{Live, Plan, Step},
    },
    names::MANAGER,
    objects::ObjectRef,
    table::policies::PolicyKind,
};

/// The objects of `references` that are there.
///
/// # Errors
/// As the API server says; a kind that it does not serve counts as not there.
pub async fn read(client: &Client, references: &[ObjectRef]) -> anyhow::Result<Live> {
    let mut live = Live::new();
    for reference in references {
        let found = api(client, reference).get_opt(&reference.name).await;
        let found = found.with_context(|| format!("cannot read {reference}"))?;
        live.extend(found.map(|object| (reference.clone(), object)));
    }
    Ok(live)
}

/// Which of Istio's kinds of plugin the cluster serves, the newer one first.
///
/// # Errors
/// When it serves neither, or does not answer.
pub async fn plugin_kind(client: &Client) -> anyhow::Result<PluginKind> {
    for kind in [PluginKind::TrafficExtension, PluginKind::WasmPlugin] {
        let (api_version, name) = kind.kind();
        if serves(client, api_version, name).await? {
            return Ok(kind);
        }
    }
    anyhow::bail!("the cluster serves no WasmPlugin and no TrafficExtension: install Istio first")
}

/// Whether the cluster serves a kind.
///
/// # Errors
/// When it does not answer.
pub async fn serves(client: &Client, api_version: &str, kind: &str) -> anyhow::Result<bool> {
    let (group, version) = api_version.split_once('/').unwrap_or_default();
    let kind = kube::core::GroupVersionKind::gvk(group, version, kind);
    match discovery::pinned_kind(client, &kind).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Discovery(_)) => Ok(false),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error).context("cannot ask the API server for its kinds"),
    }
}

impl Plan {
    /// Executes the steps in order, and calls `before` ahead of each.
    ///
    /// A mesh is given time to take each new HTTPRoute: Linkerd's controller goes through all that
    /// are pending at each change, and 80 at once took it five times as long as one by one.
    ///
    /// # Errors
    /// The first step that fails; the ones before it are done, and a new plan goes on from there.
    pub async fn execute(&self, client: &Client, before: impl Fn(&Step)) -> anyhow::Result<()> {
        let mut somebody_answers = true;
        for step in &self.steps {
            before(step);
            let reference = step.reference();
            let context = || format!("cannot write {reference}");
            execute(client, step).await.with_context(context)?;
            let is_route = reference.kind == PolicyKind::HttpRoute.names().1;
            if is_route && somebody_answers && matches!(step, Step::Create(_)) {
                somebody_answers = is_answered(client, &reference).await.with_context(context)?;
            }
        }
        Ok(())
    }
}

/// Waits until a mesh says something of an HTTPRoute; `false` where none does in time.
async fn is_answered(client: &Client, route: &ObjectRef) -> Result<bool, kube::Error> {
    // By `list`, which is a right that the controller has anyway.
    let this = ListParams::default().fields(&format!("metadata.name={}", route.name));
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    while Instant::now() < deadline {
        let found = api(client, route).list(&this).await?;
        if found.iter().any(|route| Acceptance::of(route) != Acceptance::Pending) {
            return Ok(true);
        }
        tokio::time::sleep(ANSWER_POLL).await;
    }
    Ok(false)
}

async fn execute(client: &Client, step: &Step) -> Result<(), kube::Error> {
    let reference = step.reference();
    let api = api(client, &reference);
    match step {
        Step::Create(object) | Step::Update(object, _) => {
            // By force: skycap's objects are skycap's alone.
            let params = PatchParams::apply(MANAGER).force();
            let written = api.patch(&reference.name, &params, &Patch::Apply(object)).await?;
            if let Some(patch) = object.cleaning(&written) {
                let params = PatchParams { field_manager: Some(MANAGER.into()), ..<_>::default() };
                api.patch(&reference.name, &params, &Patch::Merge(patch)).await?;
            }
        }
        Step::Delete(_) => match api.delete(&reference.name, &DeleteParams::background()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            result => drop(result?),
        },
    }
    Ok(())
}

/// The API of an object's kind, in its namespace.
#[must_use]
pub fn api(client: &Client, reference: &ObjectRef) -> Api<DynamicObject> {
    let resource = reference.resource();
    match &reference.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const ANSWER_POLL: Duration = Duration::from_millis(50);
/// How long a request to the API server may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
