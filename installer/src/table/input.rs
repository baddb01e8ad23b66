//! The input of a compile: fragments, settings and the cluster, edited as they change.

use crate::names::ROLLOUT;
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
    rollout::Rollout,
    settings::Settings,
};
use crate::{
    names::NAMESPACE,
    problem::{Problem, Severity},
};

/// Everything that a table is a function of, but for the time.
///
/// A ConfigMap is parsed when it is put in and not at each compile: of ten thousand sandboxes one
/// changes at a time.
#[derive(Debug, Clone)]
pub struct Input {
    /// The fragments, parsed or refused.
    fragments: BTreeMap<Name, Result<Arc<Fragment>, Problem>>,
    /// The settings, or why they are refused.
    settings: Result<Settings, Problem>,
    /// Services and endpoints.
    pub cluster: Cluster,
    /// Which module serves whom, or why that is refused.
    rollout: Result<Rollout, Problem>,
    /// What others say of Services, for meshes of the Gateway API.
    pub policies: Policies,
    /// What was refused before it could be parsed.
    problems: Vec<Problem>,
}

impl Input {
    /// Parses manifests. `now` is what a `ttl` without a creation time counts from.
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
            let origin = Origin::of(map, Some(source));
            if seen.insert(origin.id()) {
                input.put(map, Some(source), now);
                continue;
            }
            let text = "is there twice in the input, and a cluster has it once; remove one";
            let twice = origin.problem(Severity::Refused, "metadata.name", text.into());
            if Settings::is(&origin) {
                // One bad is all bad: nobody knows which of the two is meant.
                input.settings = Err(twice);
            } else {
                input.problems.push(twice);
            }
        }
        input
    }

    /// No fragment, default settings, and this cluster.
    #[must_use]
    pub fn empty(cluster: Cluster) -> Self {
        Self {
            fragments: BTreeMap::new(),
            settings: Ok(Settings::default()),
            cluster,
            rollout: Ok(Rollout::default()),
            policies: Policies::default(),
            problems: Vec::new(),
        }
    }

    /// Takes a ConfigMap as it is now; gives whether that changes anything.
    pub fn put(&mut self, map: &ConfigMap, source: Option<&str>, now: Timestamp) -> bool {
        let origin = Origin::of(map, source);
        if Settings::is(&origin) {
            return self.replace_settings(Settings::parse(map, source));
        }
        if Rollout::is(&origin) {
            return self.replace_rollout(Rollout::parse(map, source));
        }
        let Some(parsed) = Fragment::parse(map, source, now) else { return self.remove(map) };
        let parsed = parsed.map(Arc::new);
        self.fragments.insert(name_of(&map.metadata), parsed.clone()).as_ref() != Some(&parsed)
    }

    /// Forgets a ConfigMap; gives whether that changes anything.
    pub fn remove(&mut self, map: &ConfigMap) -> bool {
        let origin = Origin::of(map, None);
        if Settings::is(&origin) {
            return self.remove_settings();
        }
        if Rollout::is(&origin) {
            return self.replace_rollout(Ok(Rollout::default()));
        }
        self.fragments.remove(&name_of(&map.metadata)).is_some()
    }

    /// Goes back to the settings' defaults; gives whether that changes anything.
    pub fn remove_settings(&mut self) -> bool {
        self.replace_settings(Ok(Settings::default()))
    }

    /// Forgets all fragments but these; gives whether that changes anything.
    pub fn retain_fragments(&mut self, names: &HashSet<Name>) -> bool {
        let before = self.fragments.len();
        self.fragments.retain(|name, _| names.contains(name));
        let no_rollout = !names.contains(&(NAMESPACE.to_owned(), ROLLOUT.to_owned()));
        let ended = no_rollout && self.replace_rollout(Ok(Rollout::default()));
        self.fragments.len() != before || ended
    }

    fn replace_settings(&mut self, settings: Result<Settings, Problem>) -> bool {
        let changes = self.settings != settings;
        self.settings = settings;
        changes
    }

    fn replace_rollout(&mut self, rollout: Result<Rollout, Problem>) -> bool {
        let changes = self.rollout != rollout;
        self.rollout = rollout;
        changes
    }

    /// Which module serves whom; where that is refused, the one that skycap was installed with.
    pub(crate) fn rollout(&self) -> Rollout {
        self.rollout.clone().unwrap_or_default()
    }

    /// The well-formed fragments, the oldest first.
    pub(crate) fn fragments(&self) -> Vec<&Fragment> {
        let parsed = self.fragments.values().filter_map(|fragment| fragment.as_deref().ok());
        let mut fragments: Vec<_> = parsed.collect();
        fragments.sort_by(|a, b| a.origin.age().cmp(&b.origin.age()));
        fragments
    }

    /// The settings, unless they are refused.
    pub(crate) fn settings(&self) -> Option<&Settings> {
        self.settings.as_ref().ok()
    }

    /// Which meshes get the table; where the settings are refused, none is to be touched.
    #[must_use]
    pub fn meshes(&self) -> Meshes {
        self.settings().map(|settings| settings.meshes.clone()).unwrap_or_default()
    }

    /// Everything that is refused.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let fragments = self.fragments.values().filter_map(|fragment| fragment.as_ref().err());
        let settings = self.settings.as_ref().err();
        let rollout = self.rollout.as_ref().err();
        self.problems.iter().chain(settings).chain(rollout).chain(fragments).cloned().collect()
    }
}
