//! Which labels make a Pod one of the baseline's, and what a fork has in their place.

use serde_json::{Value, json};

use super::{
    baseline::Baseline,
    invalid_fork::InvalidFork,
    labels::in_sandbox,
    selector::{Identity, Labels, Purpose, Selector, WRITTEN_BY_CONTROLLERS},
};

/// The selectors that a fork of one workload is about.
pub(super) struct Identities<'a> {
    sandbox: &'a str,
    /// Those that must not select the fork.
    members: Vec<&'a Selector>,
    /// Those that select the baseline, and should select the fork.
    policies: Vec<&'a Selector>,
    /// The labels of the baseline.
    original: &'a Labels,
    /// The labels of the fork before it gets others.
    changed: Labels,
}

impl<'a> Identities<'a> {
    /// `original` are the labels of the baseline's Pods, `changed` those that the sandbox gives them.
    pub(super) fn new(
        baseline: &'a Baseline,
        sandbox: &'a str,
        original: &'a Labels,
        changed: &Labels,
    ) -> Self {
        // A sandbox's own objects are about to be replaced.
        let others = baseline
            .selectors
            .iter()
            .filter(|selector| selector.sandbox.as_deref() != Some(sandbox));
        let (members, policies): (Vec<_>, Vec<_>) =
            others.partition(|selector| selector.purpose == Purpose::Membership);
        let policies =
            policies.into_iter().filter(|policy| policy.terms.select(original)).collect();
        Self { sandbox, members, policies, original, changed: changed.clone() }
    }

    /// A patch of the Pod's labels, after which no selector selects it that is not made of
    /// exclusions alone.
    pub(super) fn changes(&self) -> Value {
        let mut changes = json!({});
        // A controller writes these, and each would bring its own value.
        for label in WRITTEN_BY_CONTROLLERS {
            if self.changed.contains_key(label) {
                changes[label] = Value::Null;
            }
        }
        let selecting = self.members.iter().filter(|selector| {
            selector.terms.select(self.original) || selector.terms.select(&self.changed)
        });
        let mut selecting: Vec<_> = selecting.collect();
        // A Pod that loses a label for one selector may meet another one's `DoesNotExist` by that. Each
        // round changes a label that no round before has changed, so there are few.
        loop {
            let before = changes.clone();
            let identities = selecting.iter().flat_map(|selector| selector.terms.identity());
            let mut identities: Vec<_> = identities.collect();
            // A presence comes last: no value of the label helps then.
            identities.sort_unstable_by_key(|(_, identity)| *identity);
            for (label, identity) in identities {
                let Some(value) = self.changed.get(label) else { continue };
                if changes.get(label).is_some_and(Value::is_null) {
                    continue;
                }
                changes[label] = match identity {
                    Identity::Value => in_sandbox(value, self.sandbox).into(),
                    Identity::Presence => Value::Null,
                };
            }
            if changes == before {
                return changes;
            }
            let labels = self.with(&changes);
            let selects = |selector: &&&Selector| selector.terms.select(&labels);
            selecting = self.members.iter().filter(selects).collect();
        }
    }

    /// The labels of the fork with these changes.
    fn with(&self, changes: &Value) -> Labels {
        let kept = self.changed.iter().filter_map(|(label, value)| match changes.get(label) {
            None => Some((label.clone(), value.clone())),
            Some(changed) => Some((label.clone(), changed.as_str()?.to_owned())),
        });
        kept.collect()
    }

    /// # Errors
    /// The first selector that would still take a fork with these labels for one of the baseline's
    /// Pods, or of another sandbox.
    pub(super) fn check(&self, labels: &Labels) -> Result<(), InvalidFork> {
        match self.members.iter().find(|selector| selector.terms.select(labels)) {
            Some(selector) => Err(InvalidFork::StillSelected(selector.object.to_string())),
            None => Ok(()),
        }
    }

    /// The policies that no longer hold for a fork with these labels, each with what to add.
    pub(super) fn notes(&self, labels: &Labels) -> Vec<String> {
        let lost = self.policies.iter().filter(|policy| !policy.terms.select(labels));
        let mut notes: Vec<_> = lost.map(|policy| {
            let asked = policy.terms.identity().filter_map(|(label, _)| {
                let (before, after) = (self.original.get(label)?, labels.get(label));
                (Some(before) != after).then(|| {
                    let after = after.map_or_else(String::new, |after| format!("={after}"));
                    (format!("{label}={before}"), format!("{label}{after}"))
                })
            });
            let (before, after): (Vec<_>, Vec<_>) = asked.unzip();
            let (before, after) = (before.join(","), after.join(","));
            format!(
                "{} selects `{before}` and not the fork; add `{after}` to it, or a copy of it, if \
                 the fork needs it",
                policy.object
            )
        }).collect();
        notes.sort();
        notes.dedup();
        notes
    }
}
