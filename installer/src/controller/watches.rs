//! The watches: what happens in the cluster, as one stream of changes.

use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client,
    core::DynamicObject,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::{sync::mpsc, task::JoinSet};

use super::state::Change;
use crate::{
    api,
    fragments::KIND_LABEL,
    objects::ObjectRef,
    settings::{NAME, NAMESPACE},
};

/// Starts all of them; each goes on until it is aborted, and begins anew with a backoff whenever
/// it breaks or what it saw last is too old.
pub(super) fn start(
    client: &Client,
    owned: &[ObjectRef],
    events: &mpsc::Sender<Change>,
) -> Watches {
    let mut tasks = JoinSet::new();
    let fragments = watcher::Config::default().labels(KIND_LABEL);
    let fragments = watcher(Api::<ConfigMap>::all(client.clone()), fragments);
    tasks.spawn(forward(fragments, events.clone(), Change::Fragment));
    let services = watcher(Api::<Service>::all(client.clone()), <_>::default());
    tasks.spawn(forward(services, events.clone(), Change::Service));
    let slices = watcher(Api::<EndpointSlice>::all(client.clone()), <_>::default());
    tasks.spawn(forward(slices, events.clone(), Change::Slice));
    let namespaces = watcher(Api::<Namespace>::all(client.clone()), <_>::default());
    tasks.spawn(forward(namespaces, events.clone(), Change::Namespace));
    let settings = watcher::watch_object(Api::namespaced(client.clone(), NAMESPACE), NAME);
    let settings = settings.map(|event| event.map(|map: Option<ConfigMap>| map.map(Box::new)));
    tasks.spawn(forward(settings, events.clone(), Change::Settings));
    for reference in owned {
        let objects = watcher::watch_object(api::api(client, reference), &reference.name);
        let objects =
            objects.map(|event| event.map(|object: Option<DynamicObject>| object.map(Box::new)));
        let reference = reference.clone();
        let change = move |object| Change::Owned(reference.clone(), object);
        tasks.spawn(forward(objects, events.clone(), change));
    }
    Watches(tasks)
}

/// The running watches.
pub(super) struct Watches(JoinSet<()>);

impl Watches {
    pub(super) fn abort_all(mut self) {
        self.0.abort_all();
    }
}

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
            Err(error) => tracing::warn!(error = %error, "a watch broke, beginning anew"),
        }
    }
}
