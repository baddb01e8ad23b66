//! The role of a ConfigMap: settings, record of a rollout, queue, or fragment.

use k8s_openapi::api::core::v1::ConfigMap;

use super::cluster::name_of;
use crate::names::{KIND_LABEL, NAMESPACE, ROLLOUT, SETTINGS};

/// What skycap uses a ConfigMap for. No other code decides this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role<'a> {
    /// A sandbox or a group, with the value of its label `skycap.dev/kind`, which may be invalid.
    Fragment(&'a str),
    /// A queue.
    Queue,
    /// The record of a rollout.
    Rollout,
    /// The settings.
    Settings,
}

impl<'a> Role<'a> {
    /// The role of `map`; `None` if skycap does not use it.
    ///
    /// The settings and the rollout are identified by namespace and name, with or without the label.
    #[must_use]
    pub fn of(map: &'a ConfigMap) -> Option<Self> {
        let (namespace, name) = name_of(&map.metadata);
        Self::named(&namespace, &name).or_else(|| {
            match map.metadata.labels.as_ref()?.get(KIND_LABEL)?.as_str() {
                // The label of the settings, on a ConfigMap with another name.
                "settings" => None,
                "queue" => Some(Self::Queue),
                // The table does not have it: `skycap up` reads it.
                "resource" => None,
                kind => Some(Self::Fragment(kind)),
            }
        })
    }

    /// The role that a ConfigMap has by its namespace and name alone.
    fn named(namespace: &str, name: &str) -> Option<Self> {
        match (namespace, name) {
            (NAMESPACE, SETTINGS) => Some(Self::Settings),
            (NAMESPACE, ROLLOUT) => Some(Self::Rollout),
            _ => None,
        }
    }
}
