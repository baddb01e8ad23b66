//! What a required podAntiAffinity does between a fork and its baseline.
//!
//! A Pod's own terms keep it away from the Pods that they select, and the scheduler then keeps those away
//! from it. A fork has its baseline's terms and other labels. So the terms of the fork, which are about
//! labels that its baseline still has, hold between the two, and those of the baseline mostly do not.

use serde_json::Value;

use super::selector::{Labels, Terms};

/// A Pod template, by what counts for the scheduler.
#[derive(Debug, Clone, Copy)]
pub(super) struct Template<'a> {
    /// Its `spec`.
    pub(super) pod: &'a Value,
    /// Its labels.
    pub(super) labels: &'a Labels,
}

/// A note for each direction in which Pods of a namespace keep each other away.
pub(super) fn notes(fork: Template<'_>, baseline: Template<'_>, namespace: &str) -> Vec<String> {
    let by_fork = repelled(fork, baseline.labels, namespace).map(|place| {
        format!(
            "its podAntiAffinity selects its baseline's Pods: they and the fork never share a `{place}`, and \
             the one that comes last may find none; set `affinity: {{podAntiAffinity: null}}` with a patch \
             of `spec.template.spec`"
        )
    });
    let by_baseline = repelled(baseline, fork.labels, namespace).map(|place| {
        format!(
            "the podAntiAffinity of its baseline selects the fork too: they never share a `{place}`; change \
             the label that it asks for with a patch of `spec.template.metadata.labels`"
        )
    });
    by_fork.into_iter().chain(by_baseline).collect()
}

/// The topology key of the first required term that keeps Pods with these labels away.
fn repelled<'a>(by: Template<'a>, labels: &Labels, namespace: &str) -> Option<&'a str> {
    let terms = "/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    let mut terms = by.pod.pointer(terms).and_then(Value::as_array).into_iter().flatten();
    let found = terms.find(|term| {
        is_in(term, namespace)
            && term
                .get("labelSelector")
                .and_then(Terms::of_selector)
                .is_some_and(|terms| terms.select(labels))
            && same_labels(term, by.labels, labels)
    })?;
    found.get("topologyKey").and_then(Value::as_str)
}

/// Whether a term is about Pods of its own namespace: it names none, or this one, or selects some.
fn is_in(term: &Value, namespace: &str) -> bool {
    let named = term.get("namespaces").and_then(Value::as_array).filter(|names| !names.is_empty());
    term.get("namespaceSelector").is_some()
        || named.is_none_or(|names| names.iter().any(|name| name == namespace))
}

/// Whether Pods have the values that `matchLabelKeys` and `mismatchLabelKeys` take from the Pod itself. A
/// label that a controller writes, such as the template's hash, is another one on each side.
fn same_labels(term: &Value, own: &Labels, others: &Labels) -> bool {
    let keys = |field: &str| {
        let keys = term.get(field).and_then(Value::as_array).into_iter().flatten();
        keys.filter_map(Value::as_str).collect::<Vec<_>>()
    };
    let is_same = |key: &&str| own.contains_key(*key) && own.get(*key) == others.get(*key);
    keys("matchLabelKeys").iter().all(is_same) && !keys("mismatchLabelKeys").iter().any(is_same)
}
