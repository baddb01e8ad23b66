//! Which workload of the baseline is forked.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};
use skycap_core::names::check_label;

use crate::{objects::ObjectRef, problem::InvalidValue};

/// A workload in the namespace, written as `cart` (a Deployment), `deployment/cart` or `statefulset/cart`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: String,
}

/// The kinds of workloads that can be forked: each has a Pod template and runs until it is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` StatefulSet. Its fork is a StatefulSet too.
    StatefulSet,
    /// `apps/v1` DaemonSet. Its fork is a Deployment with one Pod.
    DaemonSet,
    /// Rollout of Argo Rollouts. Its fork is a Deployment with the Rollout's template.
    Rollout,
}

impl WorkloadKind {
    /// All kinds.
    pub const ALL: [Self; 4] =
        [Self::Deployment, Self::StatefulSet, Self::DaemonSet, Self::Rollout];

    /// The API version and the kind.
    #[must_use]
    pub const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Deployment => ("apps/v1", "Deployment"),
            Self::StatefulSet => ("apps/v1", "StatefulSet"),
            Self::DaemonSet => ("apps/v1", "DaemonSet"),
            Self::Rollout => ("argoproj.io/v1alpha1", "Rollout"),
        }
    }

    /// The kind of the fork of such a workload.
    #[must_use]
    pub const fn of_fork(self) -> Self {
        match self {
            Self::StatefulSet => Self::StatefulSet,
            Self::Deployment | Self::DaemonSet | Self::Rollout => Self::Deployment,
        }
    }

    /// The kind with these names of the API.
    #[must_use]
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.names() == (api_version, kind))
    }
}

impl Workload {
    /// The object in a namespace.
    #[must_use]
    pub fn reference(&self, namespace: &str) -> ObjectRef {
        let (api_version, kind) = self.kind.names();
        ObjectRef::new(api_version, kind, namespace, &self.name)
    }
}

impl FromStr for Workload {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let invalid = || InvalidValue::new("workload", text, EXPECTED);
        let (kind, name) = text.split_once('/').unwrap_or(("deployment", text));
        let kind = match kind.to_ascii_lowercase().as_str() {
            "deployment" | "deployments" | "deploy" => WorkloadKind::Deployment,
            "statefulset" | "statefulsets" | "sts" => WorkloadKind::StatefulSet,
            "daemonset" | "daemonsets" | "ds" => WorkloadKind::DaemonSet,
            "rollout" | "rollouts" => WorkloadKind::Rollout,
            _ => return Err(invalid()),
        };
        if name.split('.').any(|part| check_label(part).is_err()) {
            return Err(invalid());
        }
        Ok(Self { kind, name: name.into() })
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, kind) = self.kind.names();
        write!(f, "{}/{}", kind.to_ascii_lowercase(), self.name)
    }
}

impl Serialize for Workload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

const EXPECTED: &str = "the name of a Deployment, or `statefulset/NAME`, `daemonset/NAME` or \
                        `rollout/NAME`";
