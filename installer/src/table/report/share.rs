//! A list that is too long, shortened so that each namespace keeps an equal share.

use std::collections::HashMap;

use serde::Serialize;

/// The items that fit into `bytes` of JSON, in their order, and how many bytes they take: first the
/// first item of each namespace, then the second of each, and so on.
pub(super) fn shorten<T: Clone + Serialize>(
    items: &[T],
    namespace_of: impl Fn(&T) -> String,
    bytes: usize,
) -> (Vec<T>, usize) {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut turns: Vec<(usize, usize)> = items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            let count = counts.entry(namespace_of(item)).or_default();
            *count += 1;
            (*count, index)
        })
        .collect();
    turns.sort_unstable();
    let mut used = 0;
    let mut kept: Vec<usize> = turns
        .into_iter()
        .map(|(_, index)| index)
        .take_while(|index| {
            let item = items.get(*index);
            // With the comma behind it.
            used += item
                .and_then(|item| serde_json::to_string(item).ok())
                .map_or(0, |json| json.len() + 1);
            used <= bytes
        })
        .collect();
    kept.sort_unstable();
    let kept = kept.into_iter().filter_map(|index| items.get(index)).cloned().collect();
    (kept, used.min(bytes))
}
