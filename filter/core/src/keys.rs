//! The keys of a table, each with its routes, in three flat arrays.

use core::{fmt, ops::Range};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

use crate::key::{InvalidKey, RoutingKey};

/// For each key, the numbers of its routes.
///
/// Flat, because a hundred thousand little allocations cost more than what they hold: a key takes
/// its own bytes and eight more, a route four.
///
/// In JSON one string: `"pr-1:0,3 pr-2:0"`, a space between two keys, no byte of which can stand
/// in a key. An object would be the obvious form, and is what this was at first. But for
/// server-side apply an object of ten thousand keys is ten thousand fields with an owner each: a
/// write took the API server half a second and came back with a megabyte of `managedFields`. A
/// string is one field, so also nobody else's key can be left among ours.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keys {
    text: String,
    ends: Vec<Ends>,
    routes: Vec<u32>,
}

/// Where a key's text and its routes end; they begin where those of the key before end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ends {
    text: u32,
    routes: u32,
}

impl Keys {
    /// Adds a key and its routes. What is pushed twice is refused when the table is built.
    pub fn push(&mut self, key: &RoutingKey, routes: &[u32]) {
        self.text.push_str(key.as_str());
        self.routes.extend_from_slice(routes);
        self.close();
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many rows there are: the routes of all keys.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.routes.len()
    }

    /// The keys with their routes, in the order in which they were pushed.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u32])> {
        (0..self.len()).map(|index| (self.key(index), self.routes(index)))
    }

    /// The text of the key at `index`; empty beyond the last.
    pub(crate) fn key(&self, index: usize) -> &str {
        self.text.get(self.range(index, |ends| ends.text)).unwrap_or_default()
    }

    /// The routes of the key at `index`; none beyond the last.
    pub(crate) fn routes(&self, index: usize) -> &[u32] {
        self.routes.get(self.range(index, |ends| ends.routes)).unwrap_or_default()
    }

    /// The first key with a route of `limit` or more, and that route.
    pub(crate) fn first_beyond(&self, limit: usize) -> Option<(String, u32)> {
        let beyond = |route: &u32| usize::try_from(*route).map_or(true, |route| route >= limit);
        if !self.routes.iter().any(beyond) {
            return None;
        }
        let mut rows = self.iter().flat_map(|(key, routes)| routes.iter().map(move |r| (key, r)));
        rows.find(|(_, route)| beyond(route)).map(|(key, route)| (key.into(), *route))
    }

    /// Reads what [`Display`](fmt::Display) writes.
    fn parse(text: &str) -> Result<Self, InvalidKeys<'_>> {
        let mut keys = Self::with_room_for(text);
        for entry in text.split(' ').filter(|_| !text.is_empty()) {
            let (key, routes) = entry.split_once(':').ok_or(InvalidKeys::Entry(entry))?;
            let key = key.parse().map_err(|error| InvalidKeys::Key(key, error))?;
            for route in routes.split(',').filter(|_| !routes.is_empty()) {
                let number = route.parse().map_err(|_| InvalidKeys::Route(key, route))?;
                keys.routes.push(number);
            }
            keys.push(&key, &[]);
        }
        keys.text.shrink_to_fit();
        Ok(keys)
    }

    /// No keys, with room for those of `text`: arrays that grow by doubling would leave linear
    /// memory, which never shrinks, at twice of what they need.
    fn with_room_for(text: &str) -> Self {
        let count = |mark: u8| text.bytes().filter(|byte| *byte == mark).count();
        let keys = count(b':');
        // What is around a key and its one route is `:0 `.
        let bytes = text.len().saturating_sub(keys.saturating_mul(3)).saturating_add(1);
        Self {
            text: String::with_capacity(bytes),
            ends: Vec::with_capacity(keys),
            routes: Vec::with_capacity(keys.saturating_add(count(b','))),
        }
    }

    fn range(&self, index: usize, end: impl Fn(&Ends) -> u32) -> Range<usize> {
        let at =
            |index: Option<usize>| index.and_then(|index| self.ends.get(index)).map_or(0, &end);
        let [start, end] = [at(index.checked_sub(1)), at(Some(index))];
        // A u32 fits: the filter has 32-bit memory, and a table of 4 GiB reaches no API server.
        usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(0)
    }

    fn close(&mut self) {
        let end = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        self.ends.push(Ends { text: end(self.text.len()), routes: end(self.routes.len()) });
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'a> FromIterator<(&'a RoutingKey, &'a [u32])> for Keys {
    fn from_iter<I: IntoIterator<Item = (&'a RoutingKey, &'a [u32])>>(rows: I) -> Self {
        let mut keys = Self::default();
        rows.into_iter().for_each(|(key, routes)| keys.push(key, routes));
        keys
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (key, routes)) in self.iter().enumerate() {
            write!(f, "{}{key}:", if place == 0 { "" } else { " " })?;
            for (place, route) in routes.iter().enumerate() {
                write!(f, "{}{route}", if place == 0 { "" } else { "," })?;
            }
        }
        Ok(())
    }
}

impl Serialize for Keys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeysVisitor)
    }
}

struct KeysVisitor;

impl Visitor<'_> for KeysVisitor {
    type Value = Keys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string of routing keys with their route numbers, as `pr-1:0,3 pr-2:0`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Keys, E> {
        Keys::parse(text).map_err(E::custom)
    }
}

/// What is wrong with the text of a table's keys.
#[derive(Debug, thiserror::Error)]
enum InvalidKeys<'a> {
    #[error("`{0}`: expected a routing key, a colon and route numbers, as `pr-1:0,3`")]
    Entry(&'a str),
    #[error("`{0}` {1}")]
    Key(&'a str, InvalidKey),
    #[error("`{1}` of key `{0}` is no route number")]
    Route(RoutingKey, &'a str),
}
