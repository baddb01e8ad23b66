//! The keys of a table, each with the indexes of its routes, in three flat arrays.

use core::{error, fmt, ops::Range};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

use crate::key::{InvalidKey, RoutingKey};

/// The keys of a table, each with the indexes of its routes.
///
/// The arrays are flat, because a hundred thousand small allocations cost more than their content.
/// A key takes its own bytes and 8 more, and each of its routes takes 4 bytes.
///
/// The JSON form is one string: `"pr-1:0,3 pr-2:0"`. The separators (space, colon and comma)
/// cannot be part of a key.
///
/// The JSON form is not an object, because server-side apply tracks the owner of each field of an
/// object. With 10,000 keys, a write took the API server half a second, and the response contained
/// a megabyte of `managedFields`. A string is one field. It also ensures that no key of another
/// field manager remains in the table.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keys {
    text: String,
    ends: Vec<Ends>,
    routes: Vec<u32>,
}

/// The ends of a key's text and routes. Both start where those of the previous key end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ends {
    text: u32,
    routes: u32,
}

impl Keys {
    /// Appends a key and the indexes of its routes.
    ///
    /// Duplicate keys are rejected later, by [`Table::new`](crate::table::Table::new).
    pub fn push(&mut self, key: &RoutingKey, routes: &[u32]) {
        self.text.push_str(key.as_str());
        self.routes.extend_from_slice(routes);
        self.close();
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The number of rows: the sum of the routes of all keys.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.routes.len()
    }

    /// The keys with the indexes of their routes, in the order of insertion.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u32])> {
        (0..self.len()).map(|index| (self.key(index), self.routes(index)))
    }

    /// The text of the key at `index`, or an empty text if there is no such key.
    pub(crate) fn key(&self, index: usize) -> &str {
        self.text.get(self.range(index, |ends| ends.text)).unwrap_or_default()
    }

    /// The routes of the key at `index`, or none if there is no such key.
    pub(crate) fn routes(&self, index: usize) -> &[u32] {
        self.routes.get(self.range(index, |ends| ends.routes)).unwrap_or_default()
    }

    /// The first key with a route index of `limit` or more, and that index.
    pub(crate) fn first_beyond(&self, limit: usize) -> Option<(String, u32)> {
        let beyond = |route: &u32| usize::try_from(*route).map_or(true, |route| route >= limit);
        if !self.routes.iter().any(beyond) {
            return None;
        }
        let mut rows = self.iter().flat_map(|(key, routes)| routes.iter().map(move |r| (key, r)));
        rows.find(|(_, route)| beyond(route)).map(|(key, route)| (key.into(), *route))
    }

    /// Reads the text that [`Display`](fmt::Display) writes.
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

    /// Returns an empty value with the capacity for the keys of `text`.
    ///
    /// Arrays that grow by doubling would need up to twice the memory, and the linear memory of a
    /// Wasm module never shrinks.
    fn with_room_for(text: &str) -> Self {
        let count = |mark: u8| text.bytes().filter(|byte| *byte == mark).count();
        let keys = count(b':');
        // A key with one route has 3 bytes that are not stored as text: `:0 `.
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
        // A u32 fits in a usize of 32 or 64 bits.
        usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(0)
    }

    /// Ends the current key.
    fn close(&mut self) {
        // The lengths fit in a u32: the filter has 32-bit memory, and the API server accepts far
        // less than 4 GiB.
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
        f.write_str("a string of routing keys with their route numbers, such as `pr-1:0,3 pr-2:0`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Keys, E> {
        Keys::parse(text).map_err(E::custom)
    }
}

/// Why a text is not the JSON form of [`Keys`].
#[derive(Debug)]
enum InvalidKeys<'a> {
    /// An entry without a colon.
    Entry(&'a str),
    /// An entry whose key is invalid.
    Key(&'a str, InvalidKey),
    /// A key with a route that is not a number.
    Route(RoutingKey, &'a str),
}

impl fmt::Display for InvalidKeys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(entry) => write!(
                f,
                "invalid entry `{entry}`: expected a routing key, a colon and route numbers, such \
                 as `pr-1:0,3`"
            ),
            Self::Key(key, error) => write!(f, "invalid routing key `{key}`: it {error}"),
            Self::Route(key, route) => write!(
                f,
                "invalid route number `{route}` for key `{key}`: expected an index of `routes`"
            ),
        }
    }
}

impl error::Error for InvalidKeys<'_> {}
