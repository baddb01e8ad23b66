//! The rows of the table: the routes of each key, and which fragment takes how much room.

use std::collections::{BTreeMap, HashMap};

use skycap_core::{
    config::{Keys, PluginConfig, Route},
    key::RoutingKey,
};

use super::{
    claims::Claims,
    flatten::flatten,
    fragments::Fragment,
    limits::{NAMESPACE_VISITS, TABLE_BYTES},
};
use crate::problem::Severity;

/// The routes of each key, each with the index of the fragment that adds it.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    keys: BTreeMap<RoutingKey, KeyRows>,
    /// The fragments that join or extend keys, and whose search would take too long.
    too_long: Vec<usize>,
}

#[derive(Debug)]
struct KeyRows {
    /// The oldest fragment with this key.
    oldest: usize,
    routes: Vec<(Route, usize)>,
}

impl Rows {
    /// Flattens every key. Warnings go to the findings of `claims`.
    pub(crate) fn new(claims: &mut Claims<'_>) -> Self {
        let mut rows = Self::default();
        let mut keys: Vec<_> = claims.keys.iter().collect();
        // The oldest first, so that the youngest are left out if a namespace has too many.
        keys.sort_by_key(|(_, entry)| entry.joined_by());
        let mut visits: HashMap<&str, usize> = HashMap::new();
        // A key without references visits only its own routes.
        let mut unlimited = usize::MAX;
        for (key, entry) in keys {
            let joining = entry.joined_by().and_then(|index| claims.fragments.get(index));
            let left = match joining {
                Some(fragment) => {
                    visits.entry(&fragment.origin.namespace).or_insert(NAMESPACE_VISITS)
                }
                None => &mut unlimited,
            };
            let Some(flattened) = flatten(*key, &claims.keys, left) else {
                rows.too_long.extend(entry.joined_by());
                continue;
            };
            for warning in flattened.warnings {
                if let Some(fragment) = claims.fragments.get(warning.fragment) {
                    let text = || warning.text;
                    claims.findings.add(Severity::Warning, fragment, warning.field, text);
                }
            }
            rows.keys.insert(*key, KeyRows { oldest: entry.oldest, routes: flattened.routes });
        }
        rows
    }

    /// The fragments to leave out so that the table fits: the youngest of the namespace that uses
    /// most of it, until it fits or another namespace uses more.
    pub(crate) fn evictions(&self, fragments: &[&Fragment], settings: &PluginConfig) -> Vec<usize> {
        let mut evicted = self.too_long.clone();
        let bytes = self.bytes(fragments.len());
        let empty = settings.clone().into_json().map_or(0, |json| json.len());
        let mut total = empty + bytes.iter().sum::<usize>();
        let mut namespaces: HashMap<&str, (usize, Vec<usize>)> = HashMap::new();
        for (index, fragment) in fragments.iter().enumerate().filter(|(i, _)| bytes[*i] > 0) {
            let (used, own) = namespaces.entry(&fragment.origin.namespace).or_default();
            *used += bytes[index];
            own.push(index);
        }
        while total > TABLE_BYTES {
            let heaviest = namespaces.iter_mut().max_by_key(|(name, (used, _))| (*used, **name));
            let Some((_, (used, own))) = heaviest else { break };
            let Some(youngest) = own.pop() else { break };
            *used -= bytes[youngest];
            total -= bytes[youngest];
            evicted.push(youngest);
        }
        evicted
    }

    /// The table.
    pub(crate) fn into_config(self, settings: &PluginConfig) -> PluginConfig {
        let numbers = self.numbers();
        let mut keys = Keys::default();
        for (key, KeyRows { routes, .. }) in &self.keys {
            let mut numbers: Vec<u32> =
                routes.iter().filter_map(|(route, _)| numbers.get(route).copied()).collect();
            numbers.sort_unstable();
            keys.push(key, &numbers);
        }
        let routes = numbers.into_keys().cloned().collect();
        PluginConfig { routes, keys, ..settings.clone() }.stamped()
    }

    /// The distinct routes with their numbers.
    fn numbers(&self) -> BTreeMap<&Route, u32> {
        let routes = self.keys.values().flat_map(|key| &key.routes);
        let mut numbers: BTreeMap<&Route, u32> = routes.map(|(route, _)| (route, 0)).collect();
        numbers.values_mut().zip(0..).for_each(|(slot, number)| *slot = number);
        numbers
    }

    /// How many bytes of the table each fragment takes. A route that several keys share counts for
    /// its oldest fragment, and so does the text of a key.
    fn bytes(&self, fragments: usize) -> Vec<usize> {
        let mut bytes = vec![0; fragments];
        let mut add = |fragment: usize, count: usize| {
            if let Some(bytes) = bytes.get_mut(fragment) {
                *bytes += count;
            }
        };
        let numbers = self.numbers();
        let mut oldest: HashMap<&Route, usize> = HashMap::new();
        for (key, KeyRows { oldest: first, routes }) in &self.keys {
            // `pr-1:` and the space before it.
            add(*first, key.as_str().len() + 2);
            for (route, fragment) in routes {
                let number = numbers.get(route).copied().unwrap_or_default();
                add(
                    *fragment,
                    2 + usize::try_from(number.checked_ilog10().unwrap_or(0)).unwrap_or(0),
                );
                let oldest = oldest.entry(route).or_insert(*fragment);
                *oldest = (*oldest).min(*fragment);
            }
        }
        for (route, fragment) in oldest {
            add(fragment, serde_json::to_string(route).map_or(0, |json| json.len() + 1));
        }
        bytes
    }
}
