//! What selects Pods by their labels.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::objects::ObjectRef;

/// The labels of a Pod.
pub type Labels = BTreeMap<String, String>;

/// An object that selects Pods.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    /// The object.
    pub object: ObjectRef,
    /// What it selects.
    pub terms: Terms,
    /// What being selected means.
    pub purpose: Purpose,
    /// The sandbox of the object; `None` for the baseline's.
    pub sandbox: Option<String>,
}

/// What it means for a Pod to be selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It belongs to the baseline: its traffic, its replicas, its disruption budget. A fork must not
    /// be selected.
    Membership,
    /// A rule applies to it. A fork should be selected as its baseline is.
    Policy,
}

/// The terms of a label selector; all of them must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Terms {
    /// Labels with exactly these values.
    pub match_labels: Labels,
    /// Other conditions.
    pub match_expressions: Vec<Expression>,
}

/// One condition of a selector (`LabelSelectorRequirement`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Expression {
    /// The label.
    pub key: String,
    /// How its value is compared.
    pub operator: Operator,
    /// The values, for `In` and `NotIn`.
    #[serde(default)]
    pub values: Vec<String>,
}

/// The operators of the API (`metav1.LabelSelectorOperator`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the API's words")]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Terms {
    /// Labels that must all have these values, as in `spec.selector` of a Service.
    #[must_use]
    pub fn of_labels(labels: &Value) -> Option<Self> {
        let match_labels = serde_json::from_value(labels.clone()).ok()?;
        Self { match_labels, match_expressions: Vec::new() }.of_template()
    }

    /// A `LabelSelector`.
    #[must_use]
    pub fn of_selector(selector: &Value) -> Option<Self> {
        serde_json::from_value::<Self>(selector.clone()).ok()?.of_template()
    }

    /// The terms without those about labels that a controller writes into each Pod: no template has
    /// them. So a Service that Argo Rollouts has narrowed to one of its ReplicaSets still selects the
    /// Rollout. `None` if nothing else is asked for.
    fn of_template(mut self) -> Option<Self> {
        let is_any = self == Self::default();
        self.match_labels.retain(|key, _| !is_written_by_controller(key));
        self.match_expressions.retain(|expression| !is_written_by_controller(&expression.key));
        (is_any || self != Self::default()).then_some(self)
    }

    /// Whether a Pod with these labels is selected. Empty terms select every Pod.
    #[must_use]
    pub fn select(&self, labels: &Labels) -> bool {
        let equal = self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        equal && self.match_expressions.iter().all(|expression| expression.holds(labels))
    }

    /// The labels whose presence or value these terms ask for. A Pod that is selected, and loses or
    /// changes one of them, is no longer selected.
    pub fn identity(&self) -> impl Iterator<Item = (&str, Identity)> {
        let labels = self.match_labels.keys().map(|key| (key.as_str(), Identity::Value));
        let expressions = self.match_expressions.iter().filter_map(|expression| {
            let identity = match expression.operator {
                Operator::In => Identity::Value,
                Operator::Exists => Identity::Presence,
                Operator::NotIn | Operator::DoesNotExist => return None,
            };
            Some((expression.key.as_str(), identity))
        });
        labels.chain(expressions)
    }
}

fn is_written_by_controller(label: &str) -> bool {
    WRITTEN_BY_CONTROLLERS.contains(&label)
}

/// Labels of Pods that a controller writes: ReplicaSets, StatefulSets, DaemonSets, Argo Rollouts.
pub(super) const WRITTEN_BY_CONTROLLERS: [&str; 6] = [
    "apps.kubernetes.io/pod-index",
    "controller-revision-hash",
    "pod-template-generation",
    "pod-template-hash",
    "rollouts-pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
];

/// What of a label a selector asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// Its value: another value is not selected.
    Value,
    /// Only its presence: no value helps, the label has to go.
    Presence,
}

impl Expression {
    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        let is_listed = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::In => is_listed,
            Operator::NotIn => !is_listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}
