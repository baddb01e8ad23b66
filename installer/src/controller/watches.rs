//! The watches: the events of the cluster as one stream of changes.

use std::{collections::HashSet, mem, time::Duration};

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
        watcher::{self, Event, watcher},
    },
};
use tokio::{sync::mpsc, task::JoinSet};

use super::cache::Change;
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
    changes: mpsc::Sender<Change>,
    policies: HashSet<PolicyKind>,
}

impl Watches {
    /// Starts the watches that every mesh needs, and those of skycap's objects with fixed names. A
    /// watch that fails, or that fell too far behind, restarts after a delay that grows.
    pub(super) fn start(
        client: Client,
        named: &[ObjectRef],
        changes: mpsc::Sender<Change>,
    ) -> Self {
        let mut watches = Self { tasks: JoinSet::new(), client, changes, policies: HashSet::new() };
        let client = watches.client.clone();
        let fragments = watcher::Config::default().labels(KIND_LABEL);
        let fragments = watcher(Api::<ConfigMap>::all(client.clone()), fragments);
        watches.spawn(fragments, Change::Fragment);
        let services = watcher(Api::<Service>::all(client.clone()), <_>::default());
        watches.spawn(services, Change::Service);
        let slices = watcher(Api::<EndpointSlice>::all(client.clone()), <_>::default());
        watches.spawn(slices, Change::Slice);
        let namespaces = watcher(Api::<Namespace>::all(client.clone()), <_>::default());
        watches.spawn(namespaces, Change::Namespace);
        let settings = watcher::watch_object(Api::namespaced(client.clone(), NAMESPACE), SETTINGS);
        let settings = settings.map(|event| event.map(|map: Option<ConfigMap>| map.map(Box::new)));
        watches.spawn(settings, Change::Settings);
        for reference in named {
            let objects = watcher::watch_object(api::api(&client, reference), &reference.name);
            let objects = objects
                .map(|event| event.map(|object: Option<DynamicObject>| object.map(Box::new)));
            let reference = reference.clone();
            watches.spawn(objects, move |object| Change::Owned(reference.clone(), object));
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
            self.tasks.spawn(forward_policies(policies, self.changes.clone(), kind));
        }
    }

    fn spawn<E: Send + 'static>(
        &mut self,
        events: impl Stream<Item = Result<E, watcher::Error>> + Send + 'static,
        change: impl Fn(E) -> Change + Send + 'static,
    ) {
        self.tasks.spawn(forward(events, self.changes.clone(), change));
    }
}

/// Sends the events of a watch as changes.
async fn forward<E>(
    events: impl Stream<Item = Result<E, watcher::Error>> + Send,
    sender: mpsc::Sender<Change>,
    change: impl Fn(E) -> Change,
) {
    let events = events.default_backoff();
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
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
    sender: mpsc::Sender<Change>,
    kind: PolicyKind,
) {
    let events = events.default_backoff();
    let mut events = std::pin::pin!(events);
    let mut is_served = true;
    while let Some(event) = events.next().await {
        let mut pause = Duration::ZERO;
        let changes = match event {
            Ok(event) => {
                is_served |= matches!(event, Event::InitDone);
                vec![event]
            }
            Err(watcher::Error::InitialListFailed(kube::Error::Api(status)))
                if status.code == 404 =>
            {
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

/// How long to wait before a kind that the cluster does not serve is tried again. A mesh that is
/// installed later is noticed within this time.
const UNSERVED_RETRY: Duration = Duration::from_secs(30);
