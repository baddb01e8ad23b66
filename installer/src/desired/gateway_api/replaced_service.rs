//! A Service that routing keys replace, with the backend and the problems of these keys.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use skycap_core::{
    config::{PluginConfig, Route, ServiceName},
    key::RoutingKey,
};

use super::{refusal::Refusal, rules::backend};
use crate::{
    objects::ObjectRef,
    problem::{Problem, Severity},
};

/// A Service, and the keys that replace it.
pub(super) struct ReplacedService<'a> {
    pub(super) name: &'a ServiceName,
    /// The keys in the order of the table, each with its routes for the Service.
    keys: Vec<(RoutingKey, Vec<&'a Route>)>,
}

impl<'a> ReplacedService<'a> {
    /// The replaced Services of a table, by name.
    pub(super) fn all(config: &'a PluginConfig) -> impl Iterator<Item = Self> {
        let mut services = BTreeMap::<&ServiceName, Vec<(RoutingKey, Vec<&Route>)>>::new();
        for (key, numbers) in config.keys.iter() {
            let Ok(key) = key.parse::<RoutingKey>() else { continue };
            let route = |number: &u32| config.routes.get(usize::try_from(*number).ok()?);
            for route in numbers.iter().filter_map(route) {
                let keys = services.entry(&route.service).or_default();
                match keys.last_mut().filter(|(last, _)| *last == key) {
                    Some((_, routes)) => routes.push(route),
                    None => keys.push((key, vec![route])),
                }
            }
        }
        services.into_iter().map(|(name, keys)| Self { name, keys })
    }

    /// The ports that routes name.
    pub(super) fn named_ports(&self) -> BTreeSet<u16> {
        let routes = self.keys.iter().flat_map(|(_, routes)| routes);
        routes.filter_map(|route| route.port).map(u16::from).collect()
    }

    /// The backend of each key on a port; keys that do not replace the port have none.
    pub(super) fn backends(&self, port: u16) -> Vec<(RoutingKey, Value)> {
        let backend = |(key, routes): &(RoutingKey, Vec<&Route>)| {
            Some((*key, self.backend(port, key, routes)?))
        };
        self.keys.iter().filter_map(backend).collect()
    }

    /// A refusal as a problem of the Service itself.
    pub(super) fn problem(&self, field: &str, refusal: &Refusal) -> Problem {
        let object = ObjectRef::new("v1", "Service", self.name.namespace(), self.name.name());
        self.problem_of(object, field, refusal)
    }

    /// A refusal as a problem of another object. The text names the keys whose requests it affects.
    pub(super) fn problem_of(&self, object: ObjectRef, field: &str, refusal: &Refusal) -> Problem {
        let Self { name, keys } = self;
        let mut names: Vec<_> = keys.iter().take(3).map(|(key, _)| format!("`{key}`")).collect();
        names.extend((keys.len() > 3).then(|| format!("{} more", keys.len() - 3)));
        let (noun, names) = (if keys.len() == 1 { "key" } else { "keys" }, names.join(", "));
        let effect = format!("requests for {name} with {noun} {names} go to the baseline");
        Problem::of(object, Severity::Refused, field, format!("{refusal}; until then, {effect}"))
    }

    /// The target of the route that names the port, else of the route for all ports. A target that
    /// is unavailable under `fail` stays the backend, so the mesh answers with a 5xx.
    fn backend(&self, port: u16, key: &RoutingKey, routes: &[&Route]) -> Option<Value> {
        let is_for_port = |route: &&&Route| route.port.is_some_and(|named| named.get() == port);
        let route = routes
            .iter()
            .find(is_for_port)
            .or_else(|| routes.iter().find(|route| route.port.is_none()))?;
        let to_port = route.to_port.map_or(port, u16::from);
        Some(backend(&route.to.name(key), self.name.namespace(), to_port))
    }
}
