//! Which ConfigMap something was read from.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;

use super::cluster::DEFAULT_NAMESPACE;
use crate::{
    objects::ObjectRef,
    problem::{Problem, Severity},
};

/// Whose a ConfigMap is, and since when. Ordered by age: the oldest first, then by name; one
/// without a creation time (a file that was never applied) is younger than all that have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// When the API server took it.
    pub created: Option<Timestamp>,
    /// Its namespace, `default` where a file has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Where it begins in a file: `file.yaml:12`; `None` for one of a cluster.
    pub source: Option<String>,
}

impl Origin {
    /// Whose `map` is.
    #[must_use]
    pub fn of(map: &ConfigMap, source: Option<&str>) -> Self {
        let metadata = &map.metadata;
        Self {
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
            namespace: metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE).into(),
            name: metadata.name.clone().unwrap_or_default(),
            source: source.map(str::to_owned),
        }
    }

    /// `shop/pr-1`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// What claims are decided by.
    pub(crate) fn age(&self) -> impl Ord + '_ {
        (self.created.is_none(), self.created, &self.namespace, &self.name)
    }

    pub(crate) fn problem(&self, severity: Severity, field: &str, text: String) -> Problem {
        let object = ObjectRef::config_map(&self.namespace, &self.name);
        let source = self.source.clone();
        Problem { severity, object: Some(Box::new(object)), source, field: field.into(), text }
    }
}
