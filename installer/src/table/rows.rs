//! The rows of the table: the routes of each key, and which fragment takes how much room.

use std::collections::{BTreeMap, HashMap};

use skycap_core::{
    config::{Keys, PluginConfig, Route},
    key::RoutingKey,
};

use super::{
    claims::Claims,
    flatten::{QueueClaim, flatten},
    fragments::Fragment,
    limits::{NAMESPACE_VISITS, TABLE_BYTES},
};
use crate::problem::Severity;

/// The routes of each key.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    keys: BTreeMap<RoutingKey, KeyRows>,
    /// The distinct routes, each with the oldest fragment that has it.
    routes: Vec<(Route, usize)>,
    /// The number of each route in the table, which lists them in their order.
    numbers: Vec<u32>,
    /// The fragments that join or extend keys, and whose search would take too long.
    too_long: Vec<usize>,
}

#[derive(Debug)]
struct KeyRows {
    /// The oldest fragment with this key.
    oldest: usize,
    /// Indexes of [`Rows::routes`], each with the fragment that adds the route to this key.
    routes: Vec<(usize, usize)>,
    /// Each with the fragment that adds the queue to this key.
    queues: Vec<(QueueClaim, usize)>,
}

impl Rows {
    /// Flattens every key. Warnings go to the findings of `claims`.
    pub(crate) fn new(claims: &mut Claims<'_>) -> Self {
        let mut rows = Self::default();
        let mut indexes = HashMap::new();
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
            let routes = flattened.routes.into_iter();
            let routes = routes
                .map(|(route, fragment)| (rows.index(route, fragment, &mut indexes), fragment));
            let routes = routes.collect();
            let queues = flattened.queues;
            rows.keys.insert(*key, KeyRows { oldest: entry.oldest, routes, queues });
        }
        rows.number();
        rows
    }

    /// The queues of all keys.
    pub(crate) fn queues(&self) -> impl Iterator<Item = (&RoutingKey, &QueueClaim)> {
        self.keys.iter().flat_map(|(key, KeyRows { queues, .. })| {
            queues.iter().map(move |(claim, _)| (key, claim))
        })
    }

    /// The index of a route, which is added if it is new.
    fn index(
        &mut self,
        route: Route,
        fragment: usize,
        indexes: &mut HashMap<Route, usize>,
    ) -> usize {
        if let Some(index) = indexes.get(&route) {
            let oldest = &mut self.routes[*index].1;
            *oldest = fragment.min(*oldest);
            return *index;
        }
        indexes.insert(route.clone(), self.routes.len());
        self.routes.push((route, fragment));
        self.routes.len() - 1
    }

    /// Numbers the routes in their order.
    fn number(&mut self) {
        let mut order: Vec<usize> = (0..self.routes.len()).collect();
        order.sort_unstable_by(|a, b| self.routes[*a].0.cmp(&self.routes[*b].0));
        self.numbers = vec![0; order.len()];
        for (number, index) in (0..).zip(order) {
            self.numbers[index] = number;
        }
    }

    /// The fragments to leave out so that the table fits: the youngest of the namespace that uses
    /// most of it, until it fits or another namespace uses more.
    pub(crate) fn evictions(&self, fragments: &[&Fragment], settings: &PluginConfig) -> Vec<usize> {
        let mut evicted = self.too_long.clone();
        let bytes = self.bytes(fragments);
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
        let mut keys = Keys::default();
        for (key, KeyRows { routes, .. }) in &self.keys {
            let mut numbers: Vec<u32> =
                routes.iter().map(|(index, _)| self.numbers[*index]).collect();
            numbers.sort_unstable();
            keys.push(key, &numbers);
        }
        let mut routes: Vec<_> = self.routes.into_iter().map(|(route, _)| route).collect();
        routes.sort_unstable();
        PluginConfig { routes, keys, ..settings.clone() }.stamped()
    }

    /// How many bytes of the table and of the rules of queues each fragment takes. A route that several
    /// keys share counts for its oldest fragment, and so does the text of a key.
    fn bytes(&self, fragments: &[&Fragment]) -> Vec<usize> {
        let mut bytes = vec![0; fragments.len()];
        for (key, KeyRows { oldest, routes, queues }) in &self.keys {
            // `pr-1:` and the space before it.
            bytes[*oldest] += key.as_str().len() + 2;
            for (index, fragment) in routes {
                // The number and its comma.
                let digits = self.numbers[*index].checked_ilog10().unwrap_or(0) + 1;
                bytes[*fragment] += 1 + usize::try_from(digits).unwrap_or(0);
            }
            for (claim, fragment) in queues {
                // `"pr-1":"pr-1",`.
                let name = &fragments[claim.fragment].origin.name;
                bytes[*fragment] += key.as_str().len() + name.len() + 6;
            }
        }
        for (route, oldest) in &self.routes {
            bytes[*oldest] += serde_json::to_string(route).map_or(0, |json| json.len() + 1);
        }
        bytes
    }
}
