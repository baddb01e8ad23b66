//! `match` of a group: the sandboxes that it joins by their labels. Section 3 of the contract.
//!
//! Each repository's CI makes its own sandbox, with a label that says what belongs together, as in
//! `release=42`. No job has to write an object of another one.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    str::FromStr,
    sync::Arc,
};

use skycap_core::key::RoutingKey;

use super::{
    fragments::{Content, Fragment},
    limits::{FRAGMENT_MEMBERS, NAMESPACE_VISITS},
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

/// The groups that set `match`, with what they join.
#[derive(Debug, Default)]
pub(super) struct Matched {
    /// Each with the keys of the active sandboxes that it selects behind its members, by index of the
    /// fragments, which are sorted by age.
    pub(super) groups: BTreeMap<usize, Fragment>,
    /// Those that select more than they join.
    pub(super) cut: Vec<usize>,
}

/// Resolves the `match` of each group.
///
/// A few bytes can select every sandbox of a namespace. So a group joins at most [`FRAGMENT_MEMBERS`]
/// keys, and the groups of one namespace look at no more than [`NAMESPACE_VISITS`] sandboxes together.
pub(super) fn resolve(fragments: &[&Fragment], states: &[FragmentState]) -> Matched {
    let mut by_label: BTreeMap<(&str, &str, &str), Vec<usize>> = BTreeMap::new();
    let active = fragments.iter().zip(states).enumerate();
    for (index, (fragment, _)) in active.filter(|(_, (_, state))| **state == FragmentState::Active)
    {
        for (name, value) in labels_of(fragment).into_iter().flatten() {
            let namespace = fragment.origin.namespace.as_str();
            by_label.entry((namespace, name, value)).or_default().push(index);
        }
    }
    let mut matched = Matched::default();
    let mut visits: HashMap<&str, usize> = HashMap::new();
    for (index, group) in fragments.iter().enumerate() {
        let Content::Group { members, matching } = &group.content else { continue };
        let namespace = group.origin.namespace.as_str();
        // One label finds the candidates, so that a group does not look at every sandbox.
        let candidates = matching.0.iter().map(|(name, value)| {
            let label = (namespace, name.as_str(), value.as_str());
            by_label.get(&label).map_or(&[][..], Vec::as_slice)
        });
        let Some(candidates) = candidates.min_by_key(|candidates| candidates.len()) else {
            continue;
        };
        let left = visits.entry(namespace).or_insert(NAMESPACE_VISITS);
        let candidates = candidates.iter().filter_map(|candidate| fragments.get(*candidate));
        let (joined, is_cut) = join(members, matching, candidates, left);
        if is_cut {
            matched.cut.push(index);
        }
        let content = Content::Group { members: joined, matching: matching.clone() };
        matched.groups.insert(index, Fragment { content, ..(*group).clone() });
    }
    matched
}

/// The keys that a group joins, and whether there are more of them.
fn join<'a>(
    members: &[RoutingKey],
    matching: &Matching,
    candidates: impl Iterator<Item = &'a &'a Fragment>,
    visits: &mut usize,
) -> (Arc<[RoutingKey]>, bool) {
    let mut joined = members.to_vec();
    let mut seen: HashSet<_> = members.iter().copied().collect();
    for sandbox in candidates {
        let Some(left) = visits.checked_sub(1) else { return (joined.into(), true) };
        *visits = left;
        let is_selected = labels_of(sandbox).is_some_and(|all| matching.selects(all));
        if !is_selected || seen.contains(&sandbox.key) {
            continue;
        }
        if joined.len() >= FRAGMENT_MEMBERS {
            return (joined.into(), true);
        }
        seen.insert(sandbox.key);
        joined.push(sandbox.key);
    }
    (joined.into(), false)
}

fn labels_of(fragment: &Fragment) -> Option<&BTreeMap<String, String>> {
    match &fragment.content {
        Content::Sandbox { labels, .. } => Some(labels),
        Content::Group { .. } => None,
    }
}
