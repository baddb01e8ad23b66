//! `skycap down`.

mod queues;
mod records;

use std::{
    collections::BTreeSet,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Preconditions},
    core::DynamicObject,
};
use serde_json::Value;

use super::{
    Globals, Usage,
    duration::parse_duration,
    print,
    sandbox_file::{FileArgs, namespace},
    up::{Patience, Report, repository},
};
use crate::{
    environment::{
        labels::SANDBOX_LABEL,
        plan::{check_repository, is_sandbox},
        workload::WorkloadKind,
    },
    objects::{ObjectRef, is_owned, resource},
    observed::api::api,
    problem::printable_lines,
    table::routes,
};

/// Delete a sandbox and everything that it owns
///
/// Deletes its ConfigMap, as `kubectl delete configmap` would: Kubernetes' garbage collector deletes the
/// forks and their Services.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    skycap down pr-9 -n shop\n  \
    skycap down -f skycap.yaml --set PR=9")]
pub struct DownArgs {
    /// Name of the sandbox [default: `sandbox` in the file]
    name: Option<String>,
    #[command(flatten)]
    file: FileArgs,
    /// Give messages that its forks have not read to the baseline
    #[arg(long)]
    requeue: bool,
    /// How long to wait until nothing is left; 0 does not wait
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse_duration)]
    timeout: Duration,
    /// End its resources without the Jobs of their `delete`: what lies outside the cluster stays
    #[arg(long)]
    force: bool,
}

impl DownArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { name, file, requeue, timeout, force } = self;
        let (name, in_file) = match name {
            // The name and the namespace say everything: a file that lies here is another one's.
            Some(name) if globals.namespace.is_some() && file.is_default() => (name, None),
            name => file.read_names(name)?,
        };
        let client = globals.connect().await?;
        let namespace = namespace(in_file, globals, &client)?;
        let id = format!("{namespace}/{name}");
        let reference = ObjectRef::config_map(&namespace, &name);
        let report = Report::new("waiting for the garbage collector");
        let patience = Patience { deadline: Instant::now() + timeout, report: &report };
        let maps = api(&client, &reference);
        let live = maps.get_opt(&name).await.with_context(|| format!("cannot read {reference}"))?;
        match &live {
            Some(live) if is_sandbox(live) => {
                check_repository(Some(live), repository().as_deref())?;
                if !is_owned(live) {
                    anstream::eprintln!("{}", printable_lines(&by_hand(&reference, live)));
                }
                queues::end(&client, &reference, live, requeue, &patience).await?;
                // Not another one that has the name by now.
                let uid = live.metadata.uid.clone();
                let preconditions = Some(Preconditions { uid, resource_version: None });
                let params = DeleteParams { preconditions, ..DeleteParams::background() };
                let delete = async || match maps.delete(&name, &params).await {
                    Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
                    result => {
                        result.map(drop).with_context(|| format!("cannot delete {reference}"))
                    }
                };
                patience.with(delete).await?;
            }
            Some(_) => return Err(Usage::NotSandbox { namespace, name }.into()),
            None => {}
        }
        let records = records::of(&client, &namespace, &name, live.as_ref(), force).await?;
        let left = wait_until_gone(&client, &namespace, &name, &records, &patience).await?;
        anyhow::ensure!(
            left.is_empty() || timeout.is_zero(),
            "the sandbox routes nothing any more, but Kubernetes has not deleted {} yet; {}",
            left.join(", "),
            records::advice(&namespace, &name, &left)
        );
        print(&outcome(&id, live.is_some(), &left))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What came of it. Something is `left` only where nobody waits.
fn outcome(id: &str, was_there: bool, left: &[String]) -> String {
    let left = left.join(", ");
    match (was_there, left.is_empty()) {
        (true, true) => format!("{id} is gone"),
        (false, true) => format!("{id} is not there; nothing is left of it"),
        (_, false) => format!("{id} routes nothing any more; Kubernetes still deletes {left}"),
    }
}

/// What goes with a ConfigMap that `up` did not write: by itself, nothing.
fn by_hand(reference: &ObjectRef, live: &DynamicObject) -> String {
    let routes = live.data.pointer("/data/routes").and_then(Value::as_str).unwrap_or_default();
    let routes = routes::parse(routes).unwrap_or_default();
    let services: BTreeSet<_> = routes.iter().map(|route| route.to.as_str()).collect();
    let services: Vec<_> = services.into_iter().collect();
    let which = if services.is_empty() { "none" } else { &services.join(", ") };
    format!(
        "note: `skycap up` did not write {reference}. This deletes it alone; the Services that it routes \
         to ({which}) and their workloads are not skycap's, and stay"
    )
}

/// What is left of the sandbox's objects at the end.
async fn wait_until_gone(
    client: &Client,
    namespace: &str,
    name: &str,
    records: &BTreeSet<String>,
    patience: &Patience<'_>,
) -> anyhow::Result<Vec<String>> {
    let Patience { deadline, report } = *patience;
    loop {
        let left =
            patience.with(async || remaining(client, namespace, name, records).await).await?;
        if left.is_empty() || Instant::now() >= deadline {
            return Ok(left);
        }
        report.now(&left.join(", "));
        tokio::time::sleep(POLL).await;
    }
}

async fn remaining(
    client: &Client,
    namespace: &str,
    name: &str,
    records: &BTreeSet<String>,
) -> anyhow::Result<Vec<String>> {
    let params = ListParams::default().labels(&format!("{SANDBOX_LABEL}={name}"));
    let mut left = Vec::new();
    for (api_version, kind) in [
        WorkloadKind::Deployment.names(),
        WorkloadKind::StatefulSet.names(),
        ("v1", "Service"),
        ("v1", "Pod"),
    ] {
        let resource = resource(api_version, kind);
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
        let objects = api.list(&params).await;
        let objects = objects.with_context(|| format!("cannot list {kind}s in {namespace}"))?;
        left.extend(objects.iter().map(|object| {
            format!(
                "{}/{}",
                kind.to_ascii_lowercase(),
                object.metadata.name.as_deref().unwrap_or("")
            )
        }));
    }
    left.extend(records::remaining(client, namespace, records).await?);
    Ok(left)
}

const POLL: Duration = Duration::from_millis(200);
