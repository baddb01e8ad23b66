//! The table: everything compiled, immutable, one look-up per request.

use crate::{
    config::{ConfigError, PluginConfig, Route},
    destination::Destination,
    key::RoutingKey,
};

/// A routing table that is ready to serve.
///
/// A key is found by hash; its routes are few, and are compared with the destination one by one.
/// So a look-up costs the same with ten sandboxes and with a hundred thousand.
#[derive(Debug)]
pub struct Table {
    config: PluginConfig,
    /// Open addressing with linear probing, a power of two, at most two thirds full: the number
    /// of a key, or [`EMPTY`]. Numbers and not the keys themselves, so that a key costs six to
    /// twelve bytes here whatever its length.
    slots: Vec<u32>,
}

impl Table {
    /// Reads a table as Envoy hands it to the filter.
    ///
    /// # Errors
    /// [`ConfigError`]; nothing of the configuration is usable then.
    pub fn from_json(json: &[u8]) -> Result<Self, ConfigError> {
        Self::new(PluginConfig::from_json(json)?)
    }

    /// Makes `config` ready to serve.
    ///
    /// # Errors
    /// [`ConfigError::DuplicateKey`] and [`ConfigError::NoSuchRoute`].
    pub fn new(config: PluginConfig) -> Result<Self, ConfigError> {
        if let Some((key, route)) = config.keys.first_beyond(config.routes.len()) {
            return Err(ConfigError::NoSuchRoute { key, route, routes: config.routes.len() });
        }
        let slots = (config.keys.len().saturating_mul(3) / 2).saturating_add(1).next_power_of_two();
        let mut table = Self { config, slots: vec![EMPTY; slots] };
        for number in 0..u32::try_from(table.config.keys.len()).unwrap_or(EMPTY) {
            table.insert(number)?;
        }
        Ok(table)
    }

    /// The configuration that this table was made from.
    #[must_use]
    pub const fn config(&self) -> &PluginConfig {
        &self.config
    }

    /// The routes of `key`, or `None` when nobody has the key.
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

    /// The slot that holds `key`, else the empty one where it would be.
    fn slot_of(&self, key: &str) -> usize {
        // A power of two, and never full: the walk ends at the key or at an empty slot.
        let mask = self.slots.len().wrapping_sub(1);
        let mut slot = hash(key.as_bytes()) & mask;
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
    /// What replaces `destination`: the route that names its port, else the one for all ports.
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

/// FNV-1a of 32 bits. The keys are the operator's own, so nobody gains from collisions.
fn hash(bytes: &[u8]) -> usize {
    let hash = bytes
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    index(hash ^ hash >> 16)
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

const EMPTY: u32 = u32::MAX;
