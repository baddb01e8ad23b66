//! Events: a Warning on each object that is rejected.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use crate::{
    names::MANAGER,
    objects::ObjectRef,
    observed::causes::causes,
    problem::{Problem, Severity},
    table::report::Report,
};

/// Publishes one Event for each problem with severity `refused`, until the problem changes.
pub(super) struct Announcer {
    client: Client,
    published: HashSet<Problem>,
}

impl Announcer {
    pub(super) fn new(client: Client) -> Self {
        Self { client, published: HashSet::new() }
    }

    /// Publishes Events for new problems. A failure is logged and retried in the next round.
    pub(super) async fn announce(&mut self, report: &Report) {
        let refused = report.problems.iter().filter(|p| p.severity == Severity::Refused);
        let refused: HashSet<_> = refused.cloned().collect();
        self.published.retain(|problem| refused.contains(problem));
        for problem in refused {
            if self.published.contains(&problem) {
                continue;
            }
            match self.publish(&problem).await {
                Ok(()) => drop(self.published.insert(problem)),
                Err(error) => tracing::warn!(error = causes(&error), "cannot publish an Event"),
            }
        }
    }

    async fn publish(&self, problem: &Problem) -> Result<(), kube::Error> {
        let Some(object) = object_of(problem) else { return Ok(()) };
        let mut note = format!("{}: {}", problem.field, problem.text);
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
