//! What the controller tells people: an Event on each refused fragment (or on what keeps a mesh from
//! it), and the status ConfigMap.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use skycap_core::config::PluginConfig;

use crate::{
    compile::Compilation,
    gateway_api::policies::PolicyKind,
    objects::{MANAGER, Object, object},
    problem::{Problem, Severity},
    report::Report,
    settings::NAMESPACE,
};

/// The table in numbers, as the status ConfigMap holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The generation of the table; empty where there is none.
    pub generation: String,
    /// Whether requests are routed at all: `false` under the kill switch.
    pub enabled: bool,
    /// How Envoy is made to take a target.
    pub dispatch: String,
    /// How many keys there are.
    pub keys: usize,
    /// The bytes of the plugin with the table.
    pub bytes: usize,
    /// How many fragments there are, refused ones too.
    pub fragments: usize,
    /// How many things are refused.
    pub refused: usize,
    /// How many warnings there are.
    pub warnings: usize,
}

impl Summary {
    fn new(compilation: &Compilation, report: &Report, bytes: usize) -> Self {
        let none = PluginConfig::default();
        let config = compilation.config.as_ref().unwrap_or(&none);
        let count = |severity| report.problems.iter().filter(|p| p.severity == severity).count();
        let refused = count(Severity::Refused);
        Self {
            generation: compilation
                .config
                .as_ref()
                .map_or_else(String::new, |c| c.generation.to_string()),
            enabled: compilation.config.is_some() && config.enabled,
            dispatch: config.dispatch.to_string(),
            keys: config.keys.len(),
            bytes,
            fragments: report.fragments.len(),
            refused,
            warnings: count(Severity::Warning),
        }
    }
}

/// The status ConfigMap. One that is too large keeps its problems and counts, and as many fragments
/// as there is room for. It says no time of its own, so that nothing is written when nothing has
/// changed; when it last changed is in its managed fields.
///
/// # Errors
/// As `serde_json`.
pub fn status(compilation: &Compilation, report: &Report, bytes: usize) -> anyhow::Result<Object> {
    let summary = serde_json::to_string(&Summary::new(compilation, report, bytes))?;
    let mut json = serde_json::to_string(report)?;
    if json.len() > STATUS_LIMIT {
        let mut report = report.clone();
        report.truncate(report.fragments.len() * STATUS_LIMIT / json.len() / 2);
        json = serde_json::to_string(&report)?;
    }
    let data = json!({"data": {"summary.json": summary, "report.json": json}});
    Object::new(object("v1", "ConfigMap", Some(NAMESPACE), STATUS, data))
}

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

/// The object that a problem is about: a fragment, or what keeps a mesh from it.
fn regarding(problem: &Problem) -> Option<ObjectReference> {
    let (namespace, name) = problem.fragment.split_once('/')?;
    let policy = PolicyKind::ALL.into_iter().find(|kind| kind.names().1 == problem.source);
    let (api_version, kind) = match (problem.source.as_str(), policy) {
        (_, Some(policy)) => policy.names(),
        ("Service", None) => ("v1", "Service"),
        _ => ("v1", "ConfigMap"),
    };
    Some(ObjectReference {
        api_version: Some(api_version.into()),
        kind: Some(kind.into()),
        namespace: Some(namespace.into()),
        name: Some(name.into()),
        ..ObjectReference::default()
    })
}

/// Bytes of an Event's note that the API server takes.
const NOTE_LIMIT: usize = 1_024;
/// The name of the status ConfigMap.
pub const STATUS: &str = "skycap-status";
/// Bytes of the report in it, of which a ConfigMap takes 1 MiB.
const STATUS_LIMIT: usize = 192 << 10;
