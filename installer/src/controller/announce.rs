//! What the controller tells people: an Event on each refused fragment (or on what keeps a mesh from
//! it), and the status ConfigMap.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use crate::{
    names::MANAGER,
    objects::ObjectRef,
    problem::{Problem, Severity},
    table::report::Report,
};

/// Publishes a Warning Event when a fragment is refused, once until the reason changes.
pub(super) struct Announcer {
    client: Client,
    told: HashSet<Problem>,
}

impl Announcer {
    pub(super) fn new(client: Client) -> Self {
        Self { client, told: HashSet::new() }
    }

    /// Tells what is new. An Event that cannot be published is logged, and tried again next time.
    pub(super) async fn tell(&mut self, report: &Report) {
        let refused = report.problems.iter().filter(|p| p.severity == Severity::Refused);
        let refused: HashSet<_> = refused.cloned().collect();
        self.told.retain(|problem| refused.contains(problem));
        for problem in refused {
            if self.told.contains(&problem) {
                continue;
            }
            match self.publish(&problem).await {
                Ok(()) => drop(self.told.insert(problem)),
                Err(error) => tracing::warn!(error = %error, "cannot publish an Event"),
            }
        }
    }

    async fn publish(&self, problem: &Problem) -> Result<(), kube::Error> {
        let Some(regarding) = regarding(problem) else { return Ok(()) };
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
        // A new one each time: it takes two Events with different notes for a series of one.
        Recorder::new(self.client.clone(), Reporter::from(MANAGER))
            .publish(&event, &regarding)
            .await
    }
}

/// The object that a problem is about: a fragment, or what keeps a mesh from it. Objects of the whole
/// cluster have no namespace to publish an Event in.
fn regarding(problem: &Problem) -> Option<ObjectReference> {
    let ObjectRef { api_version, kind, namespace, name } = *problem.object.clone()?;
    Some(ObjectReference {
        api_version: Some(api_version),
        kind: Some(kind),
        namespace: Some(namespace?),
        name: Some(name),
        ..ObjectReference::default()
    })
}

/// Bytes of an Event's note that the API server takes.
const NOTE_LIMIT: usize = 1_024;
