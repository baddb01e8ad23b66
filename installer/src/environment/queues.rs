//! The queues of a sandbox: which topics its forks consume, and by which variables they learn of them.

use std::collections::BTreeMap;

use kube::core::DynamicObject;
use serde_json::Value;

use super::{baseline::Baseline, spec::SandboxSpec};
use crate::{
    names::KIND_LABEL,
    objects::reference_of,
    problem::Problem,
    table::{
        queue::{Queue, QueueConfig},
        role::Role,
    },
};

/// The queues of a sandbox, and the variables that its forks get for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SandboxQueues {
    /// The queues, by their names.
    pub queues: BTreeMap<String, QueueConfig>,
    /// The variables of all queues, with their values.
    pub variables: BTreeMap<String, String>,
}

impl SandboxQueues {
    /// The queues of `spec` in a namespace.
    ///
    /// # Errors
    /// All queues that the sandbox cannot have.
    pub(super) fn new(spec: &SandboxSpec, baseline: &Baseline) -> Result<Self, Vec<InvalidQueue>> {
        let (mut all, mut errors) = (Self::default(), Vec::new());
        for name in &spec.queues {
            let config = match baseline.queues.get(name) {
                Some(Ok(queue)) => &queue.config,
                Some(Err(problem)) => {
                    errors.push(InvalidQueue::Rejected(problem.clone()));
                    continue;
                }
                None => {
                    errors.push(InvalidQueue::Missing(name.clone()));
                    continue;
                }
            };
            for (variable, value) in config.variables(&spec.name) {
                let other = all.variables.insert(variable.clone(), value.clone());
                if other.is_some_and(|other| other != value) {
                    errors.push(InvalidQueue::Variable { name: name.clone(), variable });
                }
            }
            all.queues.insert(name.clone(), config.clone());
        }
        if errors.is_empty() { Ok(all) } else { Err(errors) }
    }

    /// A note for each queue that no fork seems to consume, and for each variable that the file sets.
    pub(super) fn notes(&self, spec: &SandboxSpec, baseline: &Baseline) -> Vec<String> {
        let baselines: Vec<_> =
            spec.forks.keys().filter_map(|workload| baseline.workloads.get(workload)).collect();
        let unknown = self.queues.iter().filter_map(|(name, config)| {
            let variable = config.env.topic.as_ref()?;
            let reads = |object: &&DynamicObject| has_variable(object, variable);
            (!baselines.iter().any(reads)).then(|| {
                format!(
                    "no container of the forked workloads sets `{variable}`: if none of them consumes \
                     queue {name}, the messages of this sandbox wait in topic {}",
                    config.topic_of(&spec.name)
                )
            })
        });
        let replaced = spec.forks.iter().flat_map(|(workload, changes)| {
            let differs = |(name, value): &(&String, &String)| {
                self.variables.get(*name).is_some_and(|own| own != *value)
            };
            changes.env.iter().filter(differs).map(move |(name, _)| {
                format!(
                    "{workload}: the file sets `{name}`, so the fork does not get that of the queue"
                )
            })
        });
        unknown.chain(replaced).collect()
    }
}

/// Parses an object; `None` if it is not a queue.
pub(super) fn parse(object: &DynamicObject) -> Option<(String, Result<Queue, Problem>)> {
    let reference = reference_of(object);
    if (reference.api_version.as_str(), reference.kind.as_str()) != ("v1", "ConfigMap") {
        return None;
    }
    let map = serde_json::from_value(serde_json::to_value(object).ok()?).ok()?;
    (Role::of(&map) == Some(Role::Queue)).then(|| (reference.name, Queue::parse(&map, None)))
}

fn has_variable(workload: &DynamicObject, name: &str) -> bool {
    let lists = ["containers", "initContainers"].into_iter();
    let pod = workload.data.pointer("/spec/template/spec");
    let containers = lists.filter_map(|list| pod?.get(list)?.as_array()).flatten();
    let variables = containers.filter_map(|container| container.get("env")?.as_array()).flatten();
    variables.filter_map(|variable| variable.get("name").and_then(Value::as_str)).any(|n| n == name)
}

/// Why a sandbox cannot have a queue.
#[derive(Debug, thiserror::Error)]
pub enum InvalidQueue {
    /// There is none of this name.
    #[error(
        "queue `{0}` not found in the namespace: expected a ConfigMap with the label \
         `{KIND_LABEL}: queue`; correct the name under `queues`"
    )]
    Missing(String),
    /// It is malformed.
    #[error("{0}")]
    Rejected(Problem),
    /// Another queue of the sandbox sets the same variable.
    #[error(
        "queue `{name}` and another one under `queues` both set `{variable}`; name another variable \
         in `env` of one of them"
    )]
    Variable {
        /// The queue.
        name: String,
        /// The variable.
        variable: String,
    },
}
