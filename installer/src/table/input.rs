//! The input of a compile: fragments, settings and the cluster, updated as they change.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;

use super::{
    cluster::{Cluster, Name, name_of},
    fragments::Fragment,
    manifests::Manifests,
    meshes::Meshes,
    origin::Origin,
    policies::Policies,
    queue::Queue,
    role::Role,
    rollout::Rollout,
    settings::{RejectedSettings, Settings},
};
use crate::{
    names::{NAMESPACE, ROLLOUT},
    problem::{Problem, Severity},
};

/// Everything that a table is a function of, except the time.
///
/// A ConfigMap is parsed when it is put in and not at each compile, because one of ten thousand
/// sandboxes changes at a time.
#[derive(Debug, Clone)]
pub struct Input {
    /// The Services and endpoints.
    pub cluster: Cluster,
    /// The routing objects of other owners, for meshes of the Gateway API.
    pub policies: Policies,
    /// The fragments, parsed or rejected.
    fragments: BTreeMap<Name, Result<Arc<Fragment>, Problem>>,
    /// The queues, parsed or rejected.
    queues: BTreeMap<Name, Result<Arc<Queue>, Problem>>,
    /// The settings, or why they are rejected.
    settings: Result<Settings, RejectedSettings>,
    /// Which module serves which workloads, or why the record is rejected.
    rollout: Result<Rollout, Problem>,
    /// Documents that were rejected before they could be parsed as one of the above.
    problems: Vec<Problem>,
}

impl Input {
    /// Parses manifests. `now` is what a `ttl` counts from if the ConfigMap has no creation time.
    #[must_use]
    pub fn new(manifests: &Manifests, now: Timestamp) -> Self {
        let mut cluster = Cluster::new(&manifests.services, &manifests.endpoint_slices);
        for namespace in &manifests.namespaces {
            cluster.put_namespace(namespace);
        }
        let mut input = Self {
            policies: manifests.policies.clone(),
            problems: manifests.problems.clone(),
            ..Self::empty(cluster)
        };
        let mut seen = HashSet::new();
        for (source, map) in &manifests.config_maps {
            if seen.insert(name_of(&map.metadata)) {
                input.put(map, Some(source), now);
            } else {
                input.refuse_duplicate(map, source);
            }
        }
        input
    }

    /// No fragment, default settings, and this cluster.
    #[must_use]
    pub fn empty(cluster: Cluster) -> Self {
        Self {
            cluster,
            policies: Policies::default(),
            fragments: BTreeMap::new(),
            queues: BTreeMap::new(),
            settings: Ok(Settings::default()),
            rollout: Ok(Rollout::default()),
            problems: Vec::new(),
        }
    }

    /// Adds or replaces a ConfigMap; returns whether that changes anything.
    pub fn put(&mut self, map: &ConfigMap, source: Option<&str>, now: Timestamp) -> bool {
        match Role::of(map) {
            Some(Role::Settings) => self.replace_settings(Settings::parse(map, source)),
            Some(Role::Rollout) => self.replace_rollout(Rollout::parse(map, source)),
            Some(Role::Queue) => {
                let (name, new) = (name_of(&map.metadata), Queue::parse(map, source).map(Arc::new));
                let was_fragment = self.fragments.remove(&name).is_some();
                self.queues.insert(name, new.clone()).as_ref() != Some(&new) || was_fragment
            }
            Some(Role::Fragment(_)) | None => {
                let name = name_of(&map.metadata);
                let was_queue = self.queues.remove(&name).is_some();
                let changes = match Fragment::parse(map, source, now)
                    .map(|parsed| parsed.map(Arc::new))
                {
                    Some(new) => self.fragments.insert(name, new.clone()).as_ref() != Some(&new),
                    // The label was removed.
                    None => self.fragments.remove(&name).is_some(),
                };
                changes || was_queue
            }
        }
    }

    /// Removes a ConfigMap; returns whether that changes anything.
    pub fn remove(&mut self, map: &ConfigMap) -> bool {
        match Role::of(map) {
            Some(Role::Settings) => self.remove_settings(),
            Some(Role::Rollout) => self.replace_rollout(Ok(Rollout::default())),
            Some(Role::Fragment(_) | Role::Queue) | None => {
                let name = name_of(&map.metadata);
                self.fragments.remove(&name).is_some() | self.queues.remove(&name).is_some()
            }
        }
    }

    /// Returns to the default settings; returns whether that changes anything.
    pub fn remove_settings(&mut self) -> bool {
        self.replace_settings(Ok(Settings::default()))
    }

    /// Removes all fragments and queues and the rollout except those in `names`; returns whether that
    /// changes anything.
    pub fn retain_fragments(&mut self, names: &HashSet<Name>) -> bool {
        let before = self.fragments.len() + self.queues.len();
        self.fragments.retain(|name, _| names.contains(name));
        self.queues.retain(|name, _| names.contains(name));
        let no_rollout = !names.contains(&(NAMESPACE.to_owned(), ROLLOUT.to_owned()));
        let ended = no_rollout && self.replace_rollout(Ok(Rollout::default()));
        self.fragments.len() + self.queues.len() != before || ended
    }

    /// The meshes that get the table; the default if the settings are rejected, and then there is
    /// no table.
    #[must_use]
    pub fn meshes(&self) -> Meshes {
        self.settings().map(|settings| settings.meshes.clone()).unwrap_or_default()
    }

    /// Which module serves which workloads; `None` if the record is rejected.
    pub(crate) fn rollout(&self) -> Option<Rollout> {
        self.rollout.clone().ok()
    }

    /// The well-formed fragments, the oldest first.
    pub(crate) fn fragments(&self) -> Vec<&Fragment> {
        let parsed = self.fragments.values().filter_map(|fragment| fragment.as_deref().ok());
        let mut fragments: Vec<_> = parsed.collect();
        fragments.sort_by(|a, b| a.origin.age().cmp(&b.origin.age()));
        fragments
    }

    /// The settings, or those of the kill switch if the rest of them is rejected; `None` if they are
    /// rejected and the kill switch is not on.
    pub(crate) fn settings(&self) -> Option<&Settings> {
        match &self.settings {
            Ok(settings) => Some(settings),
            Err(rejected) => rejected.off.as_deref(),
        }
    }

    /// The well-formed queues, the oldest first.
    pub(crate) fn queues(&self) -> Vec<&Queue> {
        let parsed = self.queues.values().filter_map(|queue| queue.as_deref().ok());
        let mut queues: Vec<_> = parsed.collect();
        queues.sort_by(|a, b| a.origin.age().cmp(&b.origin.age()));
        queues
    }

    /// Whether there is a queue of this name, well formed or not.
    pub(crate) fn has_queue(&self, (namespace, name): (&str, &str)) -> bool {
        self.queues.contains_key(&(namespace.to_owned(), name.to_owned()))
    }

    /// Whether all queues are known: there is one, or the state of a cluster.
    pub(crate) fn knows_queues(&self) -> bool {
        !self.queues.is_empty() || self.cluster.knows_services()
    }

    /// A problem for each rejected document.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let fragments = self.fragments.values().filter_map(|fragment| fragment.as_ref().err());
        let settings = self.settings.as_ref().err().map(|rejected| &rejected.problem);
        let rollout = self.rollout.as_ref().err();
        let queues = self.queues.values().filter_map(|queue| queue.as_ref().err());
        let rejected = settings.into_iter().chain(rollout).chain(fragments).chain(queues);
        self.problems.iter().chain(rejected).cloned().collect()
    }

    /// Rejects the second of two ConfigMaps with one name. Of duplicate settings neither counts,
    /// because it is not known which of the two is meant.
    fn refuse_duplicate(&mut self, map: &ConfigMap, source: &str) {
        let text = "this ConfigMap appears twice in the input; remove one of the two";
        let duplicate =
            Origin::of(map, Some(source)).problem(Severity::Refused, "metadata.name", text);
        if Role::of(map) == Some(Role::Settings) {
            self.settings = Err(RejectedSettings { problem: duplicate, off: None });
        } else {
            self.problems.push(duplicate);
        }
    }

    fn replace_settings(&mut self, settings: Result<Settings, RejectedSettings>) -> bool {
        let changes = self.settings != settings;
        self.settings = settings;
        changes
    }

    /// Replaces the record of the rollout.
    pub fn set_rollout(&mut self, rollout: Rollout) {
        self.rollout = Ok(rollout);
    }

    fn replace_rollout(&mut self, rollout: Result<Rollout, Problem>) -> bool {
        let changes = self.rollout != rollout;
        self.rollout = rollout;
        changes
    }
}
