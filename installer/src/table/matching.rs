//! `match` of a group: the sandboxes that it joins by their labels. Section 3 of the contract.
//!
//! Each repository's CI makes its own sandbox, with a label that says what belongs together, as in
//! `release=42`. No job has to write an object of another one.

use std::{collections::BTreeMap, str::FromStr, sync::Arc};

use super::{
    fragments::{Content, Fragment},
    report::FragmentState,
};
use crate::problem::InvalidValue;

/// The labels that a sandbox must have, all of them. Without any, a group joins no sandbox by labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matching(Arc<BTreeMap<String, String>>);

impl Matching {
    /// Whether no label is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|(name, value)| labels.get(name) == Some(value))
    }
}

impl FromStr for Matching {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let labels = text.split(',').map(|label| {
            let pair = label.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
            let pair = pair.filter(|(name, _)| !name.is_empty());
            let pair = pair.map(|(name, value)| (name.to_owned(), value.to_owned()));
            pair.ok_or_else(|| {
                InvalidValue::new("label", label.trim(), "a name and a value, such as `release=42`")
            })
        });
        labels.collect::<Result<_, _>>().map(|labels| Self(Arc::new(labels)))
    }
}

/// The groups whose `match` selects active sandboxes, with the keys of these behind their members: by
/// index of `fragments`, which are sorted by age.
pub(super) fn resolve(
    fragments: &[&Fragment],
    states: &[FragmentState],
) -> BTreeMap<usize, Fragment> {
    let mut by_label: BTreeMap<(&str, &str, &str), Vec<usize>> = BTreeMap::new();
    let active = fragments.iter().zip(states).enumerate();
    for (index, (fragment, _)) in active.filter(|(_, (_, state))| **state == FragmentState::Active)
    {
        for (name, value) in labels_of(fragment).into_iter().flatten() {
            let namespace = fragment.origin.namespace.as_str();
            by_label.entry((namespace, name, value)).or_default().push(index);
        }
    }
    let groups = fragments.iter().enumerate().filter_map(|(index, group)| {
        let Content::Group { members, matching } = &group.content else { return None };
        // One label finds the candidates, so that a group does not look at every sandbox.
        let candidates = matching.0.iter().map(|(name, value)| {
            let label = (group.origin.namespace.as_str(), name.as_str(), value.as_str());
            by_label.get(&label).map_or(&[][..], Vec::as_slice)
        });
        let candidates = candidates.min_by_key(|candidates| candidates.len())?;
        let selected = candidates.iter().filter_map(|candidate| fragments.get(*candidate));
        let selected =
            selected.filter(|one| labels_of(one).is_some_and(|all| matching.selects(all)));
        let keys = members.iter().copied().chain(selected.map(|sandbox| sandbox.key));
        let content = Content::Group { members: keys.collect(), matching: matching.clone() };
        Some((index, Fragment { content, ..(*group).clone() }))
    });
    groups.collect()
}

fn labels_of(fragment: &Fragment) -> Option<&BTreeMap<String, String>> {
    match &fragment.content {
        Content::Sandbox { labels, .. } => Some(labels),
        Content::Group { .. } => None,
    }
}
