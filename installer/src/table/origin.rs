//! The ConfigMap that something was parsed from.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;

use super::cluster::name_of;
use crate::{
    objects::ObjectRef,
    problem::{InvalidField, Problem, Severity},
};

/// Which ConfigMap, and how old it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// When the API server created it; `None` for a file that was never applied.
    pub created: Option<Timestamp>,
    /// Whether it is deleted already, and a finalizer of somebody keeps it.
    pub is_terminating: bool,
    /// Its namespace; `default` if a file names none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The file and the line where it begins, as `file.yaml:12`; `None` if it was read from a
    /// cluster.
    pub source: Option<String>,
}

impl Origin {
    /// The origin of what is parsed from `map`.
    #[must_use]
    pub fn of(map: &ConfigMap, source: Option<&str>) -> Self {
        let (namespace, name) = name_of(&map.metadata);
        let created = map.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let is_terminating = map.metadata.deletion_timestamp.is_some();
        Self { created, is_terminating, namespace, name, source: source.map(str::to_owned) }
    }

    /// `shop/pr-1`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The order in which fragments claim a key: the oldest first, then by namespace and name. A
    /// fragment without a creation time is younger than all that have one.
    pub(crate) fn age(&self) -> impl Ord + '_ {
        (self.created.is_none(), self.created, &self.namespace, &self.name)
    }

    /// The rejection of this ConfigMap for one of its fields.
    pub(crate) fn refusal(&self, InvalidField { field, text }: InvalidField) -> Problem {
        self.problem(Severity::Refused, &field, text)
    }

    /// A problem of this ConfigMap.
    pub(crate) fn problem(
        &self,
        severity: Severity,
        field: &str,
        text: impl fmt::Display,
    ) -> Problem {
        let object = ObjectRef::config_map(&self.namespace, &self.name);
        Problem::new(severity, Some(object), self.source.as_deref(), field, text)
    }
}
