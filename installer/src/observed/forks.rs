//! How far the forks and resources of a sandbox are, and what keeps one from being ready.

mod listing;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, LogParams},
    core::DynamicObject,
};
use serde_json::Value;

pub use self::listing::{ListedFork, list};
use super::api::api;
use crate::{
    environment::labels::{FORK_LABEL, SANDBOX_LABEL},
    names::RESOURCE_LABEL,
    objects::ObjectRef,
};

/// How far a fork is, or another object with Pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForkState {
    /// Its Pod is of the current template, and available; a Job has succeeded.
    Ready,
    /// Not yet: what is going on.
    Progressing(String),
    /// Something is wrong. It may mend itself, as an image that is pushed later does.
    Failing(Failure),
}

/// What is wrong with a fork.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In a few words, as "container `cart` cannot pull its image".
    pub what: String,
    /// What the cluster says about it, and the last lines of the log; may be empty.
    pub why: String,
}

impl Failure {
    fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, why } = self;
        let separator = if why.is_empty() || why.starts_with('\n') { "" } else { ": " };
        write!(f, "{what}{separator}{why}")
    }
}

impl ForkState {
    /// Reads the state of a Deployment, StatefulSet, Job or Pod of a sandbox.
    ///
    /// # Errors
    /// The API server's error.
    pub async fn read(client: &Client, fork: &ObjectRef) -> anyhow::Result<Self> {
        let found = api(client, fork).get_opt(&fork.name).await;
        let Some(object) = found.with_context(|| format!("cannot read {fork}"))? else {
            return Ok(Self::Failing(Failure::new("it has been deleted", "")));
        };
        if is_ready(&object, &fork.kind) {
            return Ok(Self::Ready);
        }
        if let Some(failure) = replica_failure(&object).or_else(|| job_failure(&object)) {
            return Ok(Self::Failing(failure));
        }
        let labels = object.labels();
        let own = [SANDBOX_LABEL, FORK_LABEL, RESOURCE_LABEL].into_iter();
        let own = own.filter_map(|label| Some(format!("{label}={}", labels.get(label)?)));
        let own: Vec<_> = own.collect();
        let namespace = fork.namespace.as_deref().unwrap_or_default();
        let pods = Api::<Pod>::namespaced(client.clone(), namespace);
        let list = pods.list(&ListParams::default().labels(&own.join(","))).await;
        let list = list.with_context(|| format!("cannot list the Pods of {fork}"))?;
        // The Pod of the template before is on its way out.
        let live = list.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        let Some(pod) = live.max_by_key(|pod| pod.metadata.creation_timestamp.clone()) else {
            return Ok(Self::Progressing("waiting for a Pod".into()));
        };
        let failing =
            statuses(&pod).find_map(|container| Some((container, failure_of(container)?)));
        Ok(match failing {
            Some((container, mut failure)) => {
                failure.why += &last_lines(&pods, &pod, container).await.unwrap_or_default();
                Self::Failing(failure)
            }
            None => state_of(&pod),
        })
    }
}

fn is_ready(object: &DynamicObject, kind: &str) -> bool {
    match kind {
        "Job" => condition(object, "Complete").is_some(),
        "Pod" => condition(object, "Ready").is_some(),
        _ => is_available(object),
    }
}

/// Whether all of the workload's Pods are of its template and available.
fn is_available(object: &DynamicObject) -> bool {
    let number = |path: &str| object.data.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    let wanted = object.data.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    number("/status/observedGeneration") >= object.metadata.generation.unwrap_or(0)
        && number("/status/replicas") == wanted
        && number("/status/updatedReplicas") == wanted
        && number("/status/availableReplicas") == wanted
}

/// Why the Deployment cannot create Pods: a quota, an admission policy.
fn replica_failure(object: &DynamicObject) -> Option<Failure> {
    let failure = condition(object, "ReplicaFailure")?;
    let why = failure["message"].as_str().unwrap_or_default();
    Some(Failure::new("it cannot create its Pod", why))
}

fn job_failure(object: &DynamicObject) -> Option<Failure> {
    let failure = condition(object, "Failed")?;
    Some(Failure::new("it has failed", failure["message"].as_str().unwrap_or_default()))
}

/// The condition of this type, if it is true.
fn condition<'a>(object: &'a DynamicObject, kind: &str) -> Option<&'a Value> {
    let conditions = object.data.pointer("/status/conditions")?.as_array()?;
    let mut conditions = conditions.iter();
    conditions.find(|condition| condition["type"] == kind && condition["status"] == "True")
}

fn state_of(pod: &Pod) -> ForkState {
    let Some(status) = &pod.status else {
        return ForkState::Progressing("waiting for a node".into());
    };
    let conditions = status.conditions.iter().flatten();
    let unscheduled = conditions
        .into_iter()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        let message = condition.message.as_deref().unwrap_or("no node takes it");
        return ForkState::Failing(Failure::new("its Pod waits for a node", message));
    }
    // Init containers run one after the other; the others wait until these have ended.
    let is_running = |container: &ContainerStatus| {
        container.state.as_ref().is_some_and(|state| state.running.is_some())
    };
    let mut main = status.container_statuses.iter().flatten();
    match status.container_statuses.is_some() && main.all(is_running) {
        false => ForkState::Progressing("pulling images".into()),
        true => ForkState::Progressing("images pulled, starting".into()),
    }
}

/// The containers of a Pod, in the order in which they start.
fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| {
        let init = status.init_container_statuses.iter();
        init.chain(&status.container_statuses).flatten()
    })
}

/// What is wrong with a container.
fn failure_of(container: &ContainerStatus) -> Option<Failure> {
    let name = &container.name;
    let state = container.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        let message = waiting.message.as_deref().unwrap_or_default();
        return match reason {
            "" | "ContainerCreating" | "PodInitializing" => None,
            "ErrImagePull" | "ImagePullBackOff" => {
                let what = format!("container `{name}` cannot pull `{}`", container.image);
                Some(Failure::new(what, cause_of_pull(message)))
            }
            _ => Some(Failure::new(format!("container `{name}`: {reason}"), message)),
        };
    }
    let ended = state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
    let reason = ended.reason.as_deref().unwrap_or("Error");
    let what = format!("container `{name}` ended with exit code {} ({reason})", ended.exit_code);
    Some(Failure::new(what, ""))
}

/// The end of what the kubelet says about a pull. Before it, each layer names the image again.
fn cause_of_pull(message: &str) -> &str {
    let message = message.lines().next().unwrap_or_default();
    message.rsplit_once("\": ").map_or(message, |(_, cause)| cause)
}

/// The last lines of the log of a container that has ended, `None` if it never ran. Each stands behind a
/// bar: GitHub's runner takes a line that begins with `::`, indented or not, for a command to itself.
async fn last_lines(pods: &Api<Pod>, pod: &Pod, container: &ContainerStatus) -> Option<String> {
    let has_ended = container.state.as_ref().is_some_and(|state| state.terminated.is_some());
    if !has_ended && container.restart_count == 0 {
        return None;
    }
    let params = LogParams {
        container: Some(container.name.clone()),
        tail_lines: Some(LOG_LINES),
        previous: !has_ended,
        ..LogParams::default()
    };
    let log = pods.logs(&pod.name_any(), &params).await.ok()?;
    let lines: Vec<_> = log.lines().map(|line| format!("\n    | {line}")).collect();
    (!lines.is_empty()).then(|| lines.concat())
}

/// How many lines of a log a message has.
const LOG_LINES: i64 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    /// As containerd 2 and kubelets from 1.31 on say it, and with no cause as older ones do.
    #[test]
    fn a_pull_that_fails_is_told_once_and_in_one_line() {
        let (pull, lookup) = (
            "failed to pull and unpack image \"registry.invalid/cart:2\": failed to resolve reference \
             \"registry.invalid/cart:2\": failed to do request: Head \
             \"https://registry.invalid/v2/cart/manifests/2\": ",
            "dial tcp: lookup registry.invalid: no such host",
        );
        let backing_off = "Back-off pulling image \"registry.invalid/cart:2\"";
        for (reason, message, expected) in [
            ("ErrImagePull", format!("{pull}{lookup}"), format!(": {lookup}")),
            (
                "ImagePullBackOff",
                format!("{backing_off}: ErrImagePull: {pull}{lookup}"),
                format!(": {lookup}"),
            ),
            ("ImagePullBackOff", backing_off.to_owned(), format!(": {backing_off}")),
            ("ErrImagePull", String::new(), String::new()),
        ] {
            let status = serde_json::json!({
                "name": "cart", "image": "registry.invalid/cart:2", "imageID": "", "ready": false,
                "restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}},
            });
            let status = serde_json::from_value(status).expect("a status");
            let failure = failure_of(&status).map(|failure| failure.to_string());
            let expected =
                format!("container `cart` cannot pull `registry.invalid/cart:2`{expected}");
            assert_eq!(failure, Some(expected));
        }
    }
}
