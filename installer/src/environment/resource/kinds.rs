//! The kinds of objects that a resource may have, and where each of them has Pods and selects Pods.

/// A kind of Kubernetes' own that a resource may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    api_version: &'static str,
    kind: &'static str,
    /// The field with its Pod template, empty for the object itself; `None` for a kind without Pods.
    pub(super) template: Option<&'static str>,
    /// The field with the labels by which it selects Pods.
    pub(super) selector: Option<&'static str>,
}

impl Kind {
    /// The kind with these names of the API.
    pub(super) fn of(api_version: &str, kind: &str) -> Option<Self> {
        KINDS.into_iter().find(|known| (known.api_version, known.kind) == (api_version, kind))
    }

    /// The names of all kinds.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        KINDS.into_iter().map(|kind| kind.kind)
    }

    const fn new(
        api_version: &'static str,
        kind: &'static str,
        template: Option<&'static str>,
        selector: Option<&'static str>,
    ) -> Self {
        Self { api_version, kind, template, selector }
    }
}

/// Whether a kind of this API version is somebody's own, such as an operator's. Those of Kubernetes that
/// are not in the list, and those of meshes, are about other objects or about the whole cluster.
#[must_use]
pub fn is_custom(api_version: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let is_of = |domain: &str| group == domain || group.ends_with(&format!(".{domain}"));
    group.contains('.') && !["k8s.io", "istio.io", "linkerd.io"].into_iter().any(is_of)
}

const KINDS: [Kind; 10] = [
    Kind::new("v1", "ConfigMap", None, None),
    Kind::new("v1", "PersistentVolumeClaim", None, None),
    Kind::new("v1", "Pod", Some(""), None),
    Kind::new("v1", "Service", None, Some("spec.selector")),
    Kind::new("v1", "ServiceAccount", None, None),
    Kind::new("apps/v1", "Deployment", Some("spec.template"), Some("spec.selector.matchLabels")),
    Kind::new("apps/v1", "StatefulSet", Some("spec.template"), Some("spec.selector.matchLabels")),
    Kind::new("batch/v1", "Job", Some("spec.template"), None),
    Kind::new("networking.k8s.io/v1", "NetworkPolicy", None, Some("spec.podSelector.matchLabels")),
    Kind::new("policy/v1", "PodDisruptionBudget", None, Some("spec.selector.matchLabels")),
];
