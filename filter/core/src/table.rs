//! The routing table: a configuration with an index for one lookup per request.

use crate::{
    carrier::Carrier,
    config::{ConfigError, PluginConfig, Route},
    destination::Destination,
    key::RoutingKey,
    names::ServiceName,
};

pub use crate::seed::Seed;

/// A routing table that is ready for lookups. It is immutable.
///
/// A key is found by its hash. A key has few routes, so these are compared with the destination one
/// by one. Thus a lookup costs the same with ten sandboxes as with a hundred thousand.
///
/// The hash has a secret seed, because developers choose the keys of the table, and anybody chooses
/// the key of a request. Without it, 20,000 keys that collide took 3 s to read instead of 10 ms. A
/// binary search needs no seed, but costs more with each sandbox.
#[derive(Debug)]
pub struct Table {
    config: PluginConfig,
    seed: Seed,
    place: Place,
    /// A hash table with open addressing and linear probing: each slot is the index of a key, or
    /// [`EMPTY`]. The length is a power of two, and at most two thirds of the slots are used.
    ///
    /// Slots are indexes and not keys, so a key takes 6 to 12 bytes here, regardless of its length.
    slots: Vec<u32>,
}

/// Where the proxy stands, and which carriers it reads there.
#[derive(Debug)]
struct Place {
    carriers: Vec<Carrier>,
    is_edge: bool,
    /// Whether the filter must tell Envoy that it has seen the request.
    is_gateway: bool,
}

impl Place {
    fn new(config: &PluginConfig, is_gateway: bool, is_edge: bool) -> Self {
        let carriers = config.edge.carriers(&config.carriers, is_edge);
        Self { carriers, is_edge, is_gateway: !config.edge.is_open() && (is_gateway || is_edge) }
    }
}

impl Table {
    /// Reads a table from the JSON that Envoy passes to the filter.
    ///
    /// # Errors
    /// Returns [`ConfigError`]. Then no part of the configuration can be used.
    pub fn from_json(json: &[u8], seed: Seed) -> Result<Self, ConfigError> {
        Self::new(PluginConfig::from_json(json)?, seed)
    }

    /// Builds the index for `config`.
    ///
    /// # Errors
    /// Returns [`ConfigError::DuplicateKey`] or [`ConfigError::NoSuchRoute`].
    pub fn new(config: PluginConfig, seed: Seed) -> Result<Self, ConfigError> {
        if let Some((key, route)) = config.keys.first_beyond(config.routes.len()) {
            return Err(ConfigError::NoSuchRoute { key, route, routes: config.routes.len() });
        }
        let slots = (config.keys.len().saturating_mul(3) / 2).saturating_add(1).next_power_of_two();
        let place = Place::new(&config, false, false);
        let mut table = Self { config, seed, place, slots: vec![EMPTY; slots] };
        for number in 0..u32::try_from(table.config.keys.len()).unwrap_or(EMPTY) {
            table.insert(number)?;
        }
        Ok(table)
    }

    /// Moves the table to a proxy: by its labels, the proxy is an edge or not. `label` returns the
    /// value of a label. Without this call, the proxy is inside the mesh.
    #[must_use]
    pub fn placed_by(mut self, is_gateway: bool, label: impl Fn(&str) -> Option<Vec<u8>>) -> Self {
        let is_edge = self.config.edge.includes(is_gateway, label);
        self.place = Place::new(&self.config, is_gateway, is_edge);
        self
    }

    /// Whether the proxy is a gateway, also one that is not an edge, while there is an edge. Envoy
    /// removes the carriers of a gateway's request that the filter has not seen.
    #[must_use]
    pub const fn is_gateway(&self) -> bool {
        self.place.is_gateway
    }

    /// Whether the proxy is an edge, which accepts only listed keys.
    #[must_use]
    pub const fn is_edge(&self) -> bool {
        self.place.is_edge
    }

    /// The carriers that the proxy reads, in their order.
    #[must_use]
    pub fn carriers(&self) -> &[Carrier] {
        &self.place.carriers
    }

    /// Whether a request to `service` keeps the route of the gateway, whose policy the dispatch would
    /// skip.
    pub(crate) fn guards(&self, service: &ServiceName) -> bool {
        self.place.is_edge && self.config.edge.guards(service)
    }

    /// The configuration of this table.
    #[must_use]
    pub const fn config(&self) -> &PluginConfig {
        &self.config
    }

    /// The routes of `key`, or `None` if the table does not contain the key.
    #[must_use]
    pub fn find(&self, key: &RoutingKey) -> Option<KeyRoutes<'_>> {
        let number = self.slots.get(self.slot_of(key.as_str())).copied()?;
        (number != EMPTY)
            .then(|| KeyRoutes { table: self, numbers: self.config.keys.routes(index(number)) })
    }

    fn insert(&mut self, number: u32) -> Result<(), ConfigError> {
        let key = self.config.keys.key(index(number));
        let slot = self.slot_of(key);
        match self.slots.get_mut(slot) {
            Some(slot) if *slot == EMPTY => *slot = number,
            _ => return Err(ConfigError::DuplicateKey { key: key.into() }),
        }
        Ok(())
    }

    /// Returns the slot of `key`, or the empty slot where `key` would be inserted.
    fn slot_of(&self, key: &str) -> usize {
        // The table is never full, so the loop ends at the key or at an empty slot.
        let mask = self.slots.len().wrapping_sub(1);
        // The low bits are enough, because a key has a number of 32 bits.
        #[expect(clippy::cast_possible_truncation, reason = "the mask takes the low bits")]
        let mut slot = self.seed.hash(key) as usize & mask;
        while self
            .slots
            .get(slot)
            .is_some_and(|number| *number != EMPTY && self.config.keys.key(index(*number)) != key)
        {
            slot = slot.wrapping_add(1) & mask;
        }
        slot
    }
}

/// The routes of one key.
#[derive(Debug, Clone, Copy)]
pub struct KeyRoutes<'a> {
    table: &'a Table,
    numbers: &'a [u32],
}

impl<'a> KeyRoutes<'a> {
    /// The route for `destination`: the route for its port, otherwise the route for all ports.
    #[must_use]
    pub fn find(&self, destination: &Destination) -> Option<&'a Route> {
        let mut any_port = None;
        for route in self.iter().filter(|route| destination.is(&route.service)) {
            match route.port {
                Some(port) if port.get() == destination.port() => return Some(route),
                Some(_) => {}
                None => any_port = any_port.or(Some(route)),
            }
        }
        any_port
    }

    /// The routes, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &'a Route> + use<'a> {
        let Self { table, numbers } = *self;
        numbers.iter().filter_map(|number| table.config.routes.get(index(*number)))
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

const EMPTY: u32 = u32::MAX;
