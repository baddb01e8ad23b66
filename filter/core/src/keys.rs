//! The keys of a table, each with its routes, in three flat arrays.

use core::{fmt, ops::Range};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::key::RoutingKey;

/// For each key, the numbers of its routes. In JSON: `{"pr-1": [0, 3], "pr-2": [0]}`.
///
/// Flat, because a hundred thousand little allocations cost more than what they hold: a key takes
/// its own bytes and eight more, a route four.
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

    /// No keys, with room for those of `json`: arrays that grow by doubling would leave linear
    /// memory, which never shrinks, at twice of what they need.
    fn with_room_for(json: &str) -> Self {
        let count = |mark: u8| json.bytes().filter(|byte| *byte == mark).count();
        // Neither mark can stand in a key.
        let (keys, routes) = (count(b':'), count(b',').saturating_add(1));
        // What is around a key and its one route is `"":[0],`.
        let text = json.len().saturating_sub(keys.saturating_mul(6));
        Self {
            text: String::with_capacity(text),
            ends: Vec::with_capacity(keys),
            routes: Vec::with_capacity(routes),
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

impl Serialize for Keys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Keys {
    /// Reads JSON only: past the wrappers that track a path, which would allocate for every key.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        let keys = Self::with_room_for(json);
        let mut json = serde_json::Deserializer::from_str(json);
        json.deserialize_map(KeysVisitor(keys)).map_err(D::Error::custom)
    }
}

/// Fills the keys that it holds.
struct KeysVisitor(Keys);

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Keys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of routing keys, each with an array of route numbers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
        let Self(mut keys) = self;
        while let Some(key) = map.next_key::<RoutingKey>()? {
            map.next_value_seed(RoutesSeed(&mut keys.routes))
                .map_err(|error| A::Error::custom(format_args!("of key `{key}`: {error}")))?;
            keys.text.push_str(key.as_str());
            keys.close();
        }
        keys.text.shrink_to_fit();
        keys.routes.shrink_to_fit();
        Ok(keys)
    }
}

/// Appends an array of numbers to the flat one, without a Vec between.
struct RoutesSeed<'a>(&'a mut Vec<u32>);

impl<'de> serde::de::DeserializeSeed<'de> for RoutesSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for RoutesSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of route numbers")
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(route) = seq.next_element()? {
            self.0.push(route);
        }
        Ok(())
    }
}
