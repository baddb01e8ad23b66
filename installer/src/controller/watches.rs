//! The watches: the events of the cluster as one stream of changes.

use std::{collections::HashSet, mem, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client,
    core::DynamicObject,
    runtime::{
        WatchStreamExt as _,
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};
use tokio::{sync::mpsc, task::JoinSet};

use super::{cache::Change, health::Health};
use crate::{
    names::{KIND_LABEL, NAMESPACE, SETTINGS},
    objects::{ObjectRef, resource},
    observed::{api, causes::causes},
    table::policies::PolicyKind,
};

/// The running watches; dropping this ends them.
pub(super) struct Watches {
    tasks: JoinSet<()>,
    client: Client,
    health: Arc<Health>,
    changes: mpsc::Sender<Change>,
    policies: HashSet<PolicyKind>,
}

impl Watches {
    /// Starts the watches that every mesh needs, and those of skycap's objects with fixed names. A
    /// watch that fails restarts after a delay that grows ([`Delay`]); one that fell too far behind
    /// restarts at once.
    pub(super) fn start(
        client: Client,
        health: Arc<Health>,
        named: &[ObjectRef],
        changes: mpsc::Sender<Change>,
    ) -> Self {
        let (tasks, policies) = (JoinSet::new(), HashSet::new());
        let mut watches = Self { tasks, client, health, changes, policies };
        let client = watches.client.clone();
        let fragments = watcher::Config::default().labels(KIND_LABEL);
        let fragments = watcher(Api::<ConfigMap>::all(client.clone()), fragments);
        watches.spawn("ConfigMaps", fragments, Change::Fragment);
        let services = watcher(Api::<Service>::all(client.clone()), <_>::default());
        watches.spawn("Services", services, Change::Service);
        let slices = watcher(Api::<EndpointSlice>::all(client.clone()), <_>::default());
        watches.spawn("EndpointSlices", slices, Change::Slice);
        let namespaces = watcher(Api::<Namespace>::all(client.clone()), <_>::default());
        watches.spawn("Namespaces", namespaces, Change::Namespace);
        let settings = watcher::watch_object(Api::namespaced(client.clone(), NAMESPACE), SETTINGS);
        let settings = settings.map(|event| event.map(|map: Option<ConfigMap>| map.map(Box::new)));
        watches.spawn("the settings", settings, Change::Settings);
        for reference in named {
            let objects = watcher::watch_object(api::api(&client, reference), &reference.name);
            let objects = objects
                .map(|event| event.map(|object: Option<DynamicObject>| object.map(Box::new)));
            let reference = reference.clone();
            let name = reference.to_string();
            watches.spawn(&name, objects, move |object| Change::Owned(reference.clone(), object));
        }
        watches
    }

    /// Starts the watches of these policies that do not run yet.
    pub(super) fn start_policies(&mut self, kinds: &[PolicyKind]) {
        for kind in kinds.iter().copied() {
            if !self.policies.insert(kind) {
                continue;
            }
            let (api_version, name) = kind.names();
            let api = Api::all_with(self.client.clone(), &resource(api_version, name));
            let policies = watcher(api, <_>::default());
            let health = self.health.clone();
            self.tasks.spawn(forward_policies(policies, health, self.changes.clone(), kind));
        }
    }

    fn spawn<E: Send + 'static>(
        &mut self,
        objects: &str,
        events: impl Stream<Item = Result<E, watcher::Error>> + Send + 'static,
        change: impl Fn(E) -> Change + Send + 'static,
    ) {
        let (objects, health) = (objects.to_owned(), self.health.clone());
        self.tasks.spawn(forward(objects, events, health, self.changes.clone(), change));
    }
}

/// Sends the events of a watch as changes.
async fn forward<E: Send>(
    objects: String,
    events: impl Stream<Item = Result<E, watcher::Error>> + Send,
    health: Arc<Health>,
    sender: mpsc::Sender<Change>,
    change: impl Fn(E) -> Change,
) {
    let mut events = std::pin::pin!(retried(events));
    while let Some(event) = events.next().await {
        health.set_watch(&objects, event.is_ok());
        match event {
            Ok(event) => {
                if sender.send(change(event)).await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::warn!(error = causes(&error), "watch failed; restarting it"),
        }
    }
}

/// Sends the events of policies as changes. A kind that the cluster does not serve has no objects;
/// the watch tries it again after [`UNSERVED_RETRY`].
async fn forward_policies(
    events: impl Stream<Item = Result<Event<DynamicObject>, watcher::Error>> + Send,
    health: Arc<Health>,
    sender: mpsc::Sender<Change>,
    kind: PolicyKind,
) {
    let mut events = std::pin::pin!(retried(events));
    let mut is_served = true;
    while let Some(event) = events.next().await {
        health.set_watch(kind.names().1, event.is_ok() || event.as_ref().is_err_and(is_unserved));
        let mut pause = Duration::ZERO;
        let changes = match event {
            Ok(event) => {
                is_served |= matches!(event, Event::InitDone);
                vec![event]
            }
            Err(error) if is_unserved(&error) => {
                if mem::replace(&mut is_served, false) {
                    tracing::info!(kind = kind.names().1, "the cluster does not serve this kind");
                }
                pause = UNSERVED_RETRY;
                vec![Event::Init, Event::InitDone]
            }
            Err(error) => {
                tracing::warn!(error = causes(&error), "watch failed; restarting it");
                continue;
            }
        };
        for event in changes {
            if sender.send(Change::Policy(kind, event)).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(pause).await;
    }
}

fn is_unserved(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404)
}

/// The events of a watch that waits a moment after each error, and that lists again at once if it only
/// fell too far behind (410, Gone): the API server is well then.
fn retried<E: Send>(
    events: impl Stream<Item = Result<E, watcher::Error>> + Send,
) -> impl Stream<Item = Result<E, watcher::Error>> + Send {
    let is_gone = |error: &watcher::Error| match error {
        watcher::Error::WatchError(status) => status.code == 410,
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 410,
        _ => false,
    };
    let events =
        events.filter(move |event| std::future::ready(!event.as_ref().is_err_and(is_gone)));
    events.backoff(Delay::default())
}

/// The time until a watch is tried again: 100 ms, then twice as long each time, up to two seconds. A
/// longer one would keep the kill switch waiting after the API server is back. kube's own goes up to 30
/// seconds.
#[derive(Debug, Default)]
struct Delay {
    failures: u32,
}

impl Iterator for Delay {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let delay = Duration::from_millis(100) * 2_u32.pow(self.failures.min(5));
        self.failures += 1;
        Some(delay.min(LONGEST_DELAY))
    }
}

impl Backoff for Delay {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// How long to wait before a kind that the cluster does not serve is tried again. A mesh that is
/// installed later is noticed within this time.
const UNSERVED_RETRY: Duration = Duration::from_secs(30);
