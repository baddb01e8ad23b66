//! The API server: how it is found, how a plan's objects are read, and how the plan is executed.

use std::time::Duration;

use anyhow::Context as _;
use kube::{
    Api, Client, Config,
    api::{DeleteParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::DynamicObject,
    discovery,
};

use crate::{
    istio::PluginKind,
    objects::{MANAGER, ObjectRef},
    plan::{Live, Plan, Step},
};

/// A client for the cluster of `context`, or of the current one, or of the Pod that this is in.
///
/// # Errors
/// When no cluster is known, with what to set.
pub async fn connect(context: Option<&str>) -> anyhow::Result<Client> {
    let config = match context {
        Some(context) => {
            let options = KubeConfigOptions { context: Some(context.into()), ..<_>::default() };
            let kubeconfig = Kubeconfig::read().context("cannot read the kubeconfig")?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await.with_context(|| {
                format!("no context `{context}`, see `kubectl config get-contexts`")
            })?
        }
        None => Config::infer()
            .await
            .context("no cluster is known, set KUBECONFIG or run `kubectl config use-context`")?,
    };
    Client::try_from(config).context("cannot speak to the cluster")
}

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
        let (group, version) = api_version.split_once('/').unwrap_or_default();
        let gvk = kube::core::GroupVersionKind::gvk(group, version, name);
        match discovery::pinned_kind(client, &gvk).await {
            Ok(_) => return Ok(kind),
            Err(kube::Error::Discovery(_)) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error).context("cannot ask the API server for its kinds"),
        }
    }
    anyhow::bail!("the cluster serves no WasmPlugin and no TrafficExtension: install Istio first")
}

impl Plan {
    /// Executes the steps in order, and calls `before` ahead of each.
    ///
    /// # Errors
    /// The first step that fails; the ones before it are done, and a new plan goes on from there.
    pub async fn execute(&self, client: &Client, before: impl Fn(&Step)) -> anyhow::Result<()> {
        for step in &self.steps {
            before(step);
            execute(client, step)
                .await
                .with_context(|| format!("cannot write {}", step.reference()))?;
        }
        Ok(())
    }
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

/// How long a request to the API server may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
