//! The API server: how a plan's objects are read, and how the plan is executed.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
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

/// The objects of `references` that exist.
///
/// # Errors
/// The API server's error. If it does not serve a kind, the objects of that kind do not exist.
pub async fn read(client: &Client, references: &[ObjectRef]) -> anyhow::Result<Live> {
    let mut live = Live::new();
    for reference in references {
        let found = api(client, reference).get_opt(&reference.name).await;
        let found = found.with_context(|| format!("cannot read {reference}"))?;
        live.extend(found.map(|object| (reference.clone(), object)));
    }
    Ok(live)
}

/// The kind of Istio's plugins that the cluster serves; the newer one if it serves both.
///
/// # Errors
/// If it serves neither, or if the API server is unreachable.
pub async fn plugin_kind(client: &Client) -> anyhow::Result<PluginKind> {
    for kind in [PluginKind::TrafficExtension, PluginKind::WasmPlugin] {
        let (api_version, name) = kind.kind();
        if serves(client, api_version, name).await? {
            return Ok(kind);
        }
    }
    anyhow::bail!("the cluster serves neither WasmPlugin nor TrafficExtension; install Istio first")
}

/// Whether the cluster serves a kind.
///
/// # Errors
/// If the API server is unreachable or rejects the request.
pub async fn serves(client: &Client, api_version: &str, kind: &str) -> anyhow::Result<bool> {
    let (group, version) = api_version.split_once('/').unwrap_or_default();
    let gvk = kube::core::GroupVersionKind::gvk(group, version, kind);
    match discovery::pinned_kind(client, &gvk).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Discovery(_)) => Ok(false),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot find out if {kind} is served")),
    }
}

impl Plan {
    /// Executes the steps in order, and calls `before` ahead of each. If that fails, the step is not
    /// done.
    ///
    /// After each new HTTPRoute it waits for a mesh to accept or reject it, because a burst of new
    /// routes takes Linkerd several times as long as one by one (see
    /// [`gateway_api`](crate::desired::gateway_api#linkerd)).
    ///
    /// # Errors
    /// The error of the first step that fails. The steps before it are done, and a new plan
    /// continues from there.
    pub async fn execute(
        &self,
        client: &Client,
        before: impl Fn(&Step) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut has_mesh = true;
        for step in &self.steps {
            before(step)?;
            let reference = step.reference();
            let context = || format!("cannot write {reference}");
            write(client, step).await.with_context(context)?;
            let is_route = reference.kind == PolicyKind::HttpRoute.names().1;
            if is_route && has_mesh && matches!(step, Step::Create(_)) {
                has_mesh = wait_for_acceptance(client, &reference).await.with_context(context)?;
            }
        }
        Ok(())
    }
}

/// Waits until a mesh accepts or rejects an HTTPRoute; `false` if none does in time.
async fn wait_for_acceptance(client: &Client, route: &ObjectRef) -> Result<bool, kube::Error> {
    // The controller has the permission to list HTTPRoutes, but not to get one.
    let by_name = ListParams::default().fields(&format!("metadata.name={}", route.name));
    let deadline = Instant::now() + ACCEPTANCE_TIMEOUT;
    while Instant::now() < deadline {
        let found = api(client, route).list(&by_name).await?;
        if found.iter().any(|route| Acceptance::of(route) != Acceptance::Pending) {
            return Ok(true);
        }
        tokio::time::sleep(ACCEPTANCE_INTERVAL).await;
    }
    Ok(false)
}

/// Executes one step.
///
/// # Errors
/// The API server's error. An object that is to be deleted may be gone.
pub(crate) async fn write(client: &Client, step: &Step) -> Result<(), kube::Error> {
    let reference = step.reference();
    let api = api(client, &reference);
    match step {
        Step::Create(object) | Step::Update(object, _) => {
            // With force, because no other field manager may own fields that skycap sets.
            let params = apply_params();
            let written = api.patch(&reference.name, &params, &Patch::Apply(object)).await?;
            if let Some(patch) = object.cleaning(&written) {
                let params = merge_params();
                api.patch(&reference.name, &params, &Patch::Merge(patch)).await?;
            }
        }
        Step::Once(object) => {
            let params = create_params();
            match api.create(&params, &object.0).await {
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                result => drop(result?),
            }
        }
        Step::Delete(_) => match api.delete(&reference.name, &DeleteParams::background()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            result => drop(result?),
        },
    }
    Ok(())
}

/// The API of an object's kind, in the object's namespace.
#[must_use]
pub fn api(client: &Client, reference: &ObjectRef) -> Api<DynamicObject> {
    let resource = reference.resource();
    match &reference.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// How long to wait for a mesh to accept or reject an HTTPRoute. Without a mesh, the first route
/// takes this long.
const ACCEPTANCE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often to look for it.
const ACCEPTANCE_INTERVAL: Duration = Duration::from_millis(50);

/// How skycap merges a patch into an object.
#[must_use]
pub fn merge_params() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.into()), ..<_>::default() }
}

/// How skycap applies an object. What somebody else has set of its fields becomes skycap's.
#[must_use]
pub fn apply_params() -> PatchParams {
    PatchParams::apply(MANAGER).force()
}

/// How skycap creates an object.
#[must_use]
pub fn create_params() -> PostParams {
    PostParams { field_manager: Some(MANAGER.into()), ..<_>::default() }
}
