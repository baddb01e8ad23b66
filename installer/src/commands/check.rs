//! `skycap check`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{Api, Client, api::ListParams, core::DynamicObject};
use serde_json::Value;

use super::{Format, Globals, ScopeArgs, files::FileArgs};
use crate::{
    diagnose::{
        check::{Surroundings, check},
        scope::Scope,
    },
    names::{DISPATCH_ROUTE, READER},
    objects::resource,
    observed::{causes::is_forbidden, published::read_published, snapshot},
    table::{
        compile::{Compilation, compile},
        input::Input,
        manifests::Manifests,
        policies::PolicyKind,
        report,
    },
};

/// Find problems that keep requests from reaching their sandbox
///
/// Looks at fragments, Services, EndpointSlices, HTTPRoutes and GRPCRoutes, on Istio also at
/// VirtualServices and Sidecars, and on Linkerd at ServiceProfiles. Each problem comes with what to
/// do. The exit code is 1 if there is a problem.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    skycap check -n shop\n  \
    skycap check -f deploy/examples\n\n\
    With -f, all namespaces are checked unless -n is given.")]
pub struct CheckArgs {
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
}

impl CheckArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { files, scope, output } = self;
        let now = Timestamp::now();
        let (input, compilation, surroundings, scope) = if files.are_given() {
            let manifests = files.manifests()?;
            let input = Input::new(&manifests, now);
            let Manifests { services, virtual_services, sidecars, .. } = manifests;
            let surroundings =
                Surroundings { services, virtual_services, sidecars, ..<_>::default() };
            let compilation = compile(&input, now);
            (input, compilation, surroundings, scope.on_files(globals))
        } else {
            let client = globals.connect().await?;
            let scope = scope.on_cluster(globals, &client);
            let (input, compilation) = read_compilation(&client, now).await?;
            let mut surroundings = read_surroundings(&client, &scope).await?;
            surroundings.workloads = read_workloads(&client, &input, &scope).await?;
            (input, compilation, surroundings, scope)
        };
        let problems = check(&input, &compilation, &surroundings, &scope);
        let none = || format!("no problems found ({scope})");
        output.print(&problems, || report::problems(&problems).unwrap_or_else(none))?;
        Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}

/// A compile of the cluster. Who may not read all ConfigMaps gets the controller's report instead.
async fn read_compilation(client: &Client, now: Timestamp) -> anyhow::Result<(Input, Compilation)> {
    let read = snapshot::read(client, now).await;
    let is_denied = read.as_ref().is_err_and(is_forbidden);
    let mut input = match read {
        Err(_) if is_denied => snapshot::read_settings_only(client, now).await?,
        read => read?,
    };
    let kinds = PolicyKind::on(&input.meshes());
    input.policies = snapshot::read_policies(client, &kinds).await?.0;
    let mut compilation = compile(&input, now);
    if is_denied {
        anstream::eprintln!(
            "note: you may not list the ConfigMaps of all namespaces, so the fragments and their \
             problems are those of the controller's last report"
        );
        compilation.report = read_published(client).await?.1;
    }
    Ok((input, compilation))
}

async fn read_surroundings(client: &Client, scope: &Scope) -> anyhow::Result<Surroundings> {
    let services = list(client, scope, "v1", "Service").await?.0.into_iter();
    let services: Result<Vec<Service>, _> = services.map(serde_json::from_value).collect();
    let (pods, has_all_pods) = list(client, scope, "v1", "Pod").await?;
    let pods: Result<Vec<Pod>, _> = pods.into_iter().map(serde_json::from_value).collect();
    let istio =
        async |kind| anyhow::Ok(list(client, scope, "networking.istio.io/v1", kind).await?.0);
    Ok(Surroundings {
        services: services.context("invalid Service")?,
        virtual_services: istio("VirtualService").await?,
        sidecars: istio("Sidecar").await?,
        pods: pods.context("invalid Pod")?,
        workloads: None,
        has_all_pods,
        root_namespace: root_namespace(&istio("EnvoyFilter").await?),
    })
}

/// The workloads around the queues in scope; `None` if there are none, or if the user may not list them.
async fn read_workloads(
    client: &Client,
    input: &Input,
    scope: &Scope,
) -> anyhow::Result<Option<Vec<Value>>> {
    if !input.queues().iter().any(|queue| scope.has(&queue.origin.namespace)) {
        return Ok(None);
    }
    let mut workloads = Vec::new();
    for kind in ["Deployment", "StatefulSet"] {
        let Some(mut found) = list_kind(client, scope, "apps/v1", kind).await? else {
            return Ok(None);
        };
        // Items of a list do not say what they are.
        found.0.iter_mut().for_each(|workload| workload["kind"] = kind.into());
        workloads.extend(found.0);
    }
    Ok(Some(workloads))
}

/// Istio's root namespace: the one that has skycap's own EnvoyFilter.
fn root_namespace(filters: &[Value]) -> Option<String> {
    let own = filters.iter().find(|filter| filter["metadata"]["name"] == DISPATCH_ROUTE)?;
    own["metadata"]["namespace"].as_str().map(str::to_owned)
}

/// As [`list_kind`]; none if the user may not list them.
async fn list(
    client: &Client,
    scope: &Scope,
    api_version: &str,
    kind: &str,
) -> anyhow::Result<(Vec<Value>, bool)> {
    Ok(list_kind(client, scope, api_version, kind).await?.unwrap_or_default())
}

/// All objects of a kind, or those of the scope's namespace if the user may read no others, and whether
/// these are all; none if the cluster does not serve the kind, and `None` if the user may list none.
async fn list_kind(
    client: &Client,
    scope: &Scope,
    api_version: &str,
    kind: &str,
) -> anyhow::Result<Option<(Vec<Value>, bool)>> {
    let resource = resource(api_version, kind);
    let mut apis = vec![(Api::<DynamicObject>::all_with(client.clone(), &resource), true)];
    if let Scope::Namespace(namespace) = scope {
        apis.push((Api::namespaced_with(client.clone(), namespace, &resource), false));
    }
    for (api, has_all) in apis {
        match api.list(&ListParams::default()).await {
            Ok(objects) => {
                let values = objects.iter().map(serde_json::to_value);
                return Ok(Some((values.collect::<Result<_, _>>()?, has_all)));
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {
                return Ok(Some((Vec::new(), false)));
            }
            Err(kube::Error::Api(status)) if status.is_forbidden() => {}
            Err(error) => return Err(error).with_context(|| format!("cannot list {kind}s")),
        }
    }
    // The role has no Pods and workloads, because their environment may be confidential.
    let what = match kind {
        "Pod" | "Deployment" | "StatefulSet" => "this permission".into(),
        _ => format!("the role `{READER}`"),
    };
    anstream::eprintln!(
        "note: {kind}s are not checked, because you may not list them; ask an administrator for {what}"
    );
    Ok(None)
}
