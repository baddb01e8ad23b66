//! A sandbox as a value: its ConfigMap, its resources, its forks and their Services.

mod resources;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use self::resources::{env, instances};
use super::{
    baseline::Baseline,
    fork::{Fork, Tenant},
    hosts,
    invalid_fork::InvalidFork,
    queues::{InvalidQueue, SandboxQueues},
    resource::{Instance, InvalidResource},
    spec::SandboxSpec,
    workload::Workload,
};
use crate::{
    names::{KIND_LABEL, MANAGED_BY, MANAGER},
    objects::{Object, ObjectRef},
    table::queue::QueueConfig,
};

/// What a cluster holds for one sandbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Sandbox {
    /// What was asked for.
    pub spec: SandboxSpec,
    /// The namespace.
    pub namespace: String,
    /// What it has of resources, in the order of the file.
    pub resources: Vec<Instance>,
    /// The forks, by the names of their workloads.
    pub forks: Vec<Fork>,
    /// The Services, by the names of those that they replace.
    pub services: BTreeMap<String, Object>,
    /// The queues whose messages are its own.
    pub queues: BTreeMap<String, QueueConfig>,
    /// What the user should know about the sandbox as a whole.
    pub notes: Vec<String>,
}

/// When a sandbox ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its `ttl` counts from the creation of the ConfigMap: for manifests that something else applies.
    Ttl,
    /// At a time: each `up` moves it.
    At(Option<Timestamp>),
}

impl Sandbox {
    /// Forks each workload of `spec`. `namespace` is the one of the command; that of the spec wins.
    ///
    /// # Errors
    /// All workloads that cannot be forked.
    pub fn new(
        spec: &SandboxSpec,
        namespace: &str,
        baseline: &Baseline,
    ) -> Result<Self, Vec<InvalidSandbox>> {
        let namespace = spec.namespace.as_deref().unwrap_or(namespace);
        let key = spec.key();
        let (mut forks, mut errors) = (Vec::new(), Vec::new());
        let queues = SandboxQueues::new(spec, baseline).unwrap_or_else(|invalid| {
            errors.extend(invalid.into_iter().map(InvalidSandbox::Queue));
            SandboxQueues::default()
        });
        let variables = &queues.variables;
        let tenant = Tenant { namespace, sandbox: &spec.name, key: &key, variables };
        let resources = instances(baseline, tenant, &spec.resources, &mut errors);
        let env = env(&resources, &mut errors);
        for (workload, changes) in &spec.forks {
            match Fork::new(baseline, tenant, &env, workload, changes) {
                Ok(fork) => forks.push(fork),
                Err(error) => errors.push(InvalidSandbox::Fork(workload.clone(), error)),
            }
        }
        let services = forks.iter().flat_map(|fork| fork.services.clone()).collect();
        let mut notes = shared_services(baseline, spec, &forks);
        notes.extend(hosts::notes(&baseline.host_policies, namespace, &services));
        notes.extend(queues.notes(spec, baseline));
        let (spec, namespace, queues) = (spec.clone(), namespace.to_owned(), queues.queues);
        let sandbox = Self { spec, namespace, resources, forks, services, queues, notes };
        errors.extend(sandbox.duplicate().map(InvalidSandbox::Duplicate));
        if errors.is_empty() { Ok(sandbox) } else { Err(errors) }
    }

    /// Which ConfigMap it is.
    #[must_use]
    pub fn reference(&self) -> ObjectRef {
        ObjectRef::config_map(&self.namespace, &self.spec.name)
    }

    /// The ConfigMap.
    ///
    /// # Errors
    /// Errors of [`Object::new`]; no sandbox is known to cause one.
    pub fn config_map(&self, enabled: bool, end: End) -> anyhow::Result<Object> {
        let SandboxSpec { key, ttl, extends, on_unavailable, labels, .. } = &self.spec;
        let mut data = json!({"enabled": enabled.to_string()});
        let mut set = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                data[name] = value.into();
            }
        };
        set("key", key.as_ref().map(ToString::to_string));
        set("extends", extends.as_ref().map(ToString::to_string));
        set("onUnavailable", on_unavailable.map(|value| value.label().to_owned()));
        match end {
            End::Ttl => set("ttl", ttl.clone()),
            End::At(time) => set("expires", time.map(|time| time.to_string())),
        }
        let routes = self.services.iter();
        let routes =
            routes.map(|(service, fork)| format!("{service}: {}\n", fork.reference().name));
        let routes: String = routes.collect();
        set("routes", Some(routes).filter(|routes| !routes.is_empty()));
        set("queues", Some(self.spec.queues.join(", ")).filter(|queues| !queues.is_empty()));
        let mut all: Value = json!(labels);
        all[KIND_LABEL] = "sandbox".into();
        all[MANAGED_BY] = MANAGER.into();
        let (name, namespace) = (&self.spec.name, &self.namespace);
        Object::new(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace, "labels": all},
            "data": data,
        }))
    }

    /// The objects of all resources, with the records and without the Secrets.
    pub fn resource_objects(&self) -> impl Iterator<Item = &Object> {
        self.resources.iter().flat_map(|one| [&one.record].into_iter().chain(&one.objects))
    }

    /// The other objects beside the ConfigMap, in the order in which they are written: Services first, so
    /// that a mesh knows them by the time that the Pods are ready.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        let governing = self.forks.iter().filter_map(|fork| fork.governing.as_ref());
        let forks = self.forks.iter().map(|fork| &fork.object);
        self.services.values().chain(governing).chain(forks)
    }

    /// The notes on each fork, with its workload, and on the sandbox.
    pub fn all_notes(&self) -> impl Iterator<Item = String> {
        let forks = self.forks.iter().flat_map(|fork| {
            fork.notes.iter().map(move |note| format!("{}: {note}", fork.workload))
        });
        forks.chain(self.notes.iter().cloned())
    }

    /// An object that two of the forks and resources would both be.
    fn duplicate(&self) -> Option<ObjectRef> {
        let mut seen = BTreeSet::new();
        let objects = self.resource_objects().chain(self.objects());
        let mut names = objects.map(Object::reference).chain([self.reference()]);
        names.find(|reference| !seen.insert(reference.clone()))
    }
}

/// A note for each Service with workloads that the sandbox does not fork.
fn shared_services(baseline: &Baseline, spec: &SandboxSpec, forks: &[Fork]) -> Vec<String> {
    let names: BTreeSet<_> = forks.iter().flat_map(|fork| fork.services.keys()).collect();
    let notes = names.into_iter().filter_map(|name| {
        let service = baseline
            .services
            .iter()
            .find(|service| service.metadata.name.as_ref() == Some(name))?;
        let terms = super::selector::Terms::of_labels(service.data.pointer("/spec/selector")?)?;
        let others = baseline.workloads.iter().filter(|(workload, object)| {
            !spec.forks.contains_key(workload)
                && super::baseline::sandbox_of(object).is_none()
                && terms.select(&Baseline::pod_labels(object))
        });
        let others: Vec<_> = others.map(|(workload, _)| workload.to_string()).collect();
        (!others.is_empty()).then(|| {
            format!(
                "Service {name} also serves {}: in the sandbox, the forks stand for all of them",
                others.join(", ")
            )
        })
    });
    notes.collect()
}

/// Why a sandbox cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSandbox {
    /// A workload that cannot be forked.
    #[error("{0}: {1}")]
    Fork(Workload, InvalidFork),
    /// A queue that it cannot have.
    #[error(transparent)]
    Queue(InvalidQueue),
    /// Two forks would have one name.
    #[error(
        "{0}: two objects of the sandbox would both have this name; give the sandbox another name, or \
         leave one of them out"
    )]
    Duplicate(ObjectRef),
    /// A resource that is not there.
    #[error(
        "resources: `{0}` not found; expected a ConfigMap of this name in the namespace, with the label \
         `skycap.dev/kind: resource`"
    )]
    NoResource(String),
    /// A resource that is malformed, or that would not stay inside the sandbox.
    #[error("ConfigMap {0}: {1}")]
    Resource(String, InvalidResource),
    /// A variable of two resources.
    #[error("resources: `{1}` and `{2}` both set the variable `{0}`; rename one, or leave one out")]
    Variable(String, String, String),
}
