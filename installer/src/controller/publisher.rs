//! What the controller tells people: the status ConfigMap, and a Warning Event on each object that is
//! rejected.
//!
//! It works beside the rounds. A status that the API server rejects, or ten thousand Events, must
//! delay no change of the table.

use std::{collections::HashSet, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::{sync::watch, time::timeout};

use super::{deletion, lease::Term, telemetry::Metrics};
use crate::{
    desired::plan::Plan, names::MANAGER, objects::ObjectRef, observed::causes::causes,
    problem::Problem, table::compile::Overdue,
};

/// The result of one round, for people.
#[derive(Debug, Clone)]
pub(super) struct Publication {
    /// The plan that writes the status ConfigMap.
    pub(super) status: Plan,
    /// The problems with severity `refused`.
    pub(super) refused: HashSet<Problem>,
    /// The fragments to delete.
    pub(super) overdue: Vec<Overdue>,
}

/// Publishes the newest [`Publication`] while this replica leads.
pub(super) struct Publisher {
    client: Client,
    term: watch::Receiver<Term>,
    metrics: Arc<Metrics>,
    /// The problems for which there is an Event.
    announced: HashSet<Problem>,
}

impl Publisher {
    pub(super) fn new(client: Client, term: watch::Receiver<Term>, metrics: Arc<Metrics>) -> Self {
        Self { client, term, metrics, announced: HashSet::new() }
    }

    /// Runs until the sender is dropped.
    pub(super) async fn run(mut self, mut publications: watch::Receiver<Option<Publication>>) {
        let mut is_done = true;
        loop {
            let changed = publications.changed();
            let ended = if is_done {
                changed.await.is_err()
            } else {
                matches!(timeout(PAUSE, changed).await, Ok(Err(_)))
            };
            if ended {
                return;
            }
            let publication = publications.borrow_and_update().clone();
            is_done = match publication {
                Some(publication) if self.term.borrow().is_running() => {
                    let is_written = self.write_status(&publication.status).await;
                    let is_announced = self.announce(&publication.refused).await;
                    let is_tidy =
                        deletion::delete_overdue(&self.client, &publication.overdue).await;
                    is_written && is_announced && is_tidy
                }
                _ => true,
            };
        }
    }

    /// Writes the status. Returns whether that is done; a failure is logged.
    async fn write_status(&self, plan: &Plan) -> bool {
        let execution = plan.execute(&self.client, |_| Ok(()));
        let result =
            timeout(PATIENCE, execution).await.unwrap_or_else(|elapsed| Err(elapsed.into()));
        match result {
            Ok(()) => {
                self.metrics.writes.inc_by(u64::try_from(plan.steps.len()).unwrap_or(0));
                true
            }
            Err(error) => {
                tracing::warn!(error = causes(error.as_ref()), "cannot write the status");
                false
            }
        }
    }

    /// Publishes an Event for each of these problems, until the problem changes; at most [`EVENTS`] at
    /// once. Returns whether all are published; a failure is logged.
    async fn announce(&mut self, refused: &HashSet<Problem>) -> bool {
        self.announced.retain(|problem| refused.contains(problem));
        let new: Vec<_> = refused.difference(&self.announced).cloned().collect();
        for problem in new.iter().take(EVENTS) {
            match timeout(PATIENCE, self.publish(problem)).await {
                Ok(Ok(())) => drop(self.announced.insert(problem.clone())),
                Ok(Err(error)) => {
                    tracing::warn!(error = causes(&error), "cannot publish an Event");
                    return false;
                }
                Err(_) => return false,
            }
        }
        new.len() <= EVENTS
    }

    async fn publish(&self, problem: &Problem) -> Result<(), kube::Error> {
        let Some(object) = object_of(problem) else { return Ok(()) };
        let mut note = match problem.field.as_str() {
            "" => problem.text.clone(),
            field => format!("{field}: {}", problem.text),
        };
        while note.len() > NOTE_LIMIT {
            note.pop();
        }
        let event = Event {
            type_: EventType::Warning,
            reason: "Refused".into(),
            note: Some(note),
            action: "Compile".into(),
            secondary: None,
        };
        // A new Recorder for each Event, because one Recorder merges Events with different notes
        // into a series.
        Recorder::new(self.client.clone(), Reporter::from(MANAGER)).publish(&event, &object).await
    }
}

/// The object of a problem. Cluster-scoped objects have no namespace for the Event, so they get
/// none.
fn object_of(problem: &Problem) -> Option<ObjectReference> {
    let ObjectRef { api_version, kind, namespace, name } = *problem.object.clone()?;
    Some(ObjectReference {
        api_version: Some(api_version),
        kind: Some(kind),
        namespace: Some(namespace?),
        name: Some(name),
        ..ObjectReference::default()
    })
}

/// The size of an Event's note that the API server accepts, in bytes.
const NOTE_LIMIT: usize = 1_024;
/// How many Events are published between two looks at what there is to publish.
const EVENTS: usize = 20;
/// How long to wait before what failed, or is left, is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long one write may take.
const PATIENCE: Duration = Duration::from_secs(10);
