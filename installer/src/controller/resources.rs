//! Ends resources: when the record of one is deleted, the Job of its `delete` runs, and then the finalizer
//! goes. Only in namespaces that permit it, by the role that
//! [`rights::resources`](crate::environment::rights::resources) describes.
//!
//! A Job that fails leaves the record, which says so in an Event, until somebody deletes the Job, so that
//! it runs again, or takes the finalizer away (`skycap down --force`).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use futures_util::StreamExt as _;
use k8s_openapi::api::{batch::v1::Job, core::v1::ConfigMap};
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{Patch, PostParams},
    runtime::{
        controller::{Action, Controller},
        events::{Event, EventType, Recorder, Reporter},
        watcher,
    },
};
use serde_json::json;
use tokio::sync::{Mutex, watch};

use super::lease::Term;
use crate::{
    environment::resource::record::{DELETE, FINALIZER},
    names::{MANAGER, RESOURCE_LABEL},
    observed::{api::merge_params, causes::causes},
};

/// Ends resources while this replica leads. Runs until it is aborted.
pub(super) async fn run(client: Client, term: watch::Receiver<Term>) {
    let records = watcher::Config::default().labels(RESOURCE_LABEL);
    let ending = Arc::new(Ending { client: client.clone(), term, told: Mutex::default() });
    Controller::new(Api::<ConfigMap>::all(client), records)
        .run(reconcile, |_, _, _| Action::requeue(LATER), ending)
        .for_each(|_| std::future::ready(()))
        .await;
}

struct Ending {
    client: Client,
    term: watch::Receiver<Term>,
    /// What the last Event of each record says, by the record's uid.
    told: Mutex<BTreeMap<String, String>>,
}

async fn reconcile(record: Arc<ConfigMap>, ending: Arc<Ending>) -> Result<Action, kube::Error> {
    let is_ending = record.metadata.deletion_timestamp.is_some()
        && record.finalizers().iter().any(|name| name == FINALIZER);
    if !is_ending {
        return Ok(Action::await_change());
    }
    if !ending.term.borrow().is_running() {
        return Ok(Action::requeue(LATER));
    }
    match ending.end(&record).await {
        Ok(true) => Ok(Action::await_change()),
        Ok(false) => Ok(Action::requeue(SOON)),
        Err(error) => {
            let text = causes(error.as_ref());
            ending.tell(&record, &text).await;
            Ok(Action::requeue(LATER))
        }
    }
}

impl Ending {
    /// Runs the Job of a record, and removes the finalizer when it has succeeded: then returns `true`.
    ///
    /// # Errors
    /// What somebody has to correct.
    async fn end(&self, record: &ConfigMap) -> anyhow::Result<bool> {
        let job = job_of(record)?;
        let (namespace, name) = (record.namespace().unwrap_or_default(), job.name_any());
        let jobs = Api::<Job>::namespaced(self.client.clone(), &namespace);
        let found = match jobs.get_opt(&name).await {
            Ok(Some(found)) => found,
            Ok(None) => match jobs.create(&PostParams::default(), &job).await {
                // What the Job would end, may be anything: but nothing can begin here any more.
                Err(error) if is_terminating(&error) => return self.release(record).await,
                created => created.with_context(|| denied(&namespace))?,
            },
            Err(error) => return Err(error).with_context(|| denied(&namespace)),
        };
        let owners = found.owner_references().iter();
        anyhow::ensure!(
            owners.map(|owner| Some(&owner.uid)).any(|uid| uid == record.metadata.uid.as_ref()),
            "Job {namespace}/{name} exists, and is not this resource's; delete it"
        );
        let conditions = found.status.and_then(|status| status.conditions).unwrap_or_default();
        let is = |kind: &str| conditions.iter().find(|it| it.type_ == kind && it.status == "True");
        if is("Complete").is_some() {
            return self.release(record).await;
        }
        if let Some(failure) = is("Failed") {
            anyhow::bail!(
                "Job {namespace}/{name} has failed: {}; see `kubectl -n {namespace} logs job/{name}`; \
                 delete the Job, and it runs again, or end the sandbox without it: `skycap down \
                 --force`",
                failure.message.as_deref().unwrap_or_default()
            );
        }
        Ok(false)
    }

    /// Removes the finalizer.
    async fn release(&self, record: &ConfigMap) -> anyhow::Result<bool> {
        let namespace = record.namespace().unwrap_or_default();
        let maps = Api::<ConfigMap>::namespaced(self.client.clone(), &namespace);
        let kept: Vec<_> = record.finalizers().iter().filter(|name| *name != FINALIZER).collect();
        // Not what somebody else has changed meanwhile.
        let version = &record.metadata.resource_version;
        let patch = json!({"metadata": {"finalizers": kept, "resourceVersion": version}});
        let params = merge_params();
        match maps.patch(&record.name_any(), &params, &Patch::Merge(patch)).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(kube::Error::Api(status)) if status.code == 409 => return Ok(false),
            result => drop(result.with_context(|| denied(&namespace))?),
        }
        self.told.lock().await.remove(&record.uid().unwrap_or_default());
        tracing::info!(record = record.name_any(), namespace, "resource ended");
        Ok(true)
    }

    /// Publishes an Event about a record, once for each text.
    async fn tell(&self, record: &ConfigMap, text: &str) {
        let mut told = self.told.lock().await;
        let uid = record.uid().unwrap_or_default();
        if told.get(&uid).is_some_and(|before| before == text) {
            return;
        }
        tracing::warn!(record = record.name_any(), error = text, "cannot end a resource");
        let mut note = text.to_owned();
        while note.len() > NOTE_LIMIT {
            note.pop();
        }
        let event = Event {
            type_: EventType::Warning,
            reason: "DeleteFailed".into(),
            note: Some(note),
            action: "Delete".into(),
            secondary: None,
        };
        let recorder = Recorder::new(self.client.clone(), Reporter::from(MANAGER));
        if recorder.publish(&event, &record.object_ref(&())).await.is_ok() {
            told.insert(uid, text.to_owned());
        }
    }
}

/// The Job of a record, which then owns it.
fn job_of(record: &ConfigMap) -> anyhow::Result<Job> {
    let text = record.data.as_ref().and_then(|data| data.get(DELETE)).context(NO_JOB)?;
    let mut job: Job = serde_json::from_str(text).context(NO_JOB)?;
    job.metadata.namespace = record.namespace();
    let mut owner = record.owner_ref(&()).context("the record has no uid")?;
    owner.controller = Some(false);
    job.metadata.owner_references = Some(vec![owner]);
    Ok(job)
}

fn denied(namespace: &str) -> String {
    format!(
        "skycap cannot run the Job of `delete`; apply what `skycap render --role resources -n \
         {namespace}` prints"
    )
}

/// Whether the namespace is being deleted.
fn is_terminating(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

const NO_JOB: &str =
    "the record has no Job in `delete`; end the sandbox without it: `skycap down --force`";
/// The size of an Event's note that the API server accepts, in bytes.
const NOTE_LIMIT: usize = 1_024;
/// How often to look at a Job that runs.
const SOON: Duration = Duration::from_secs(1);
/// When to try again what failed.
const LATER: Duration = Duration::from_secs(5);
