//! The table as HTTPRoutes: for Linkerd, which has no Wasm, for Istio ambient, and for every other
//! mesh that routes between Services by the Gateway API (GAMMA, GEP-1426).
//!
//! Each replaced Service and port gets HTTPRoutes with one rule for each key, whose backend is the
//! target, and behind them the rules that hold without a key: one HTTPRoute takes away a Service's
//! default route, so each of them has the whole baseline with it, and there is no moment in which
//! a baseline request has no rule.
//! - A key is a regular expression over a `baggage` line: [`expression`].
//! - Which HTTPRoute has which keys: [`packing`].
//! - Where others have HTTPRoutes on the Service, every rule of theirs is there twice: as it is,
//!   and with each key. A match with one more header ranks above the same match without it, in
//!   the Gateway API as in Linkerd, so a sandboxed request wins on each of their matches and keeps
//!   its filters. Both kinds are `rules`; what others have is in [`policies`](crate::table::policies).
//! - HTTPRoutes in another namespace than the Service's hold for clients there: they get skycap's
//!   beside them, in their namespace.
//!
//! What cannot be said so that every mesh does the same is refused with a report, and then nothing
//! is said of that Service and port.

mod adapter;
pub mod expression;
pub mod packing;
mod refusals;
mod rules;
mod service_port;

use std::collections::BTreeMap;

use skycap_core::{
    config::{PluginConfig, ServiceName},
    key::RoutingKey,
    table::{KeyRoutes, Table},
};

use self::{
    adapter::{Adapter, Keys},
    rules::Matcher,
    service_port::RULE_MATCHES,
};
use crate::{
    names::{NAMESPACE, SETTINGS},
    objects::{Object, ObjectRef},
    problem::{Problem, Severity},
    table::{cluster::Cluster, meshes::Meshes, policies::Policies},
};

/// What the adapter makes of a table.
#[derive(Debug, Clone, Default)]
pub struct HttpRoutes {
    /// The HTTPRoutes, by namespace and name.
    pub objects: Vec<Object>,
    /// What is refused, and what has no effect.
    pub problems: Vec<Problem>,
    /// Where the HTTPRoutes in place stay: namespace, and how their names begin.
    held: Vec<(String, String)>,
}

impl HttpRoutes {
    /// The HTTPRoutes of a table. Without Services in the input nothing is known of ports, and
    /// only those that the sandboxes name have routes.
    #[must_use]
    pub fn new(
        config: &PluginConfig,
        cluster: &Cluster,
        policies: &Policies,
        meshes: &Meshes,
    ) -> Self {
        let mut routes = Self::default();
        // The compiler made it, so it is a good one.
        let Some(table) = Table::new(config.clone()).ok().filter(|table| table.config().enabled)
        else {
            return routes;
        };
        let (matchers, problems) = matchers(config);
        routes.problems = problems;
        let adapter = Adapter { config, cluster, policies, meshes, matchers };
        for (service, keys) in keys_by_service(&table) {
            adapter.add_service(service, &keys, &mut routes);
        }
        routes.problems.sort();
        routes.problems.dedup();
        routes
    }

    /// Whether an HTTPRoute of skycap's is to stay as it is.
    #[must_use]
    pub fn holds(&self, reference: &ObjectRef) -> bool {
        self.held.iter().any(|(namespace, prefix)| {
            reference.namespace.as_ref() == Some(namespace) && reference.name.starts_with(prefix)
        })
    }
}

/// What the carriers ask for, and which of them no match can ask for.
fn matchers(config: &PluginConfig) -> (Vec<Matcher>, Vec<Problem>) {
    let mut matchers = Vec::new();
    let mut problems = Vec::new();
    for carrier in &config.carriers {
        let text = match Matcher::of(carrier) {
            Some(_) if matchers.len() == RULE_MATCHES => refusals::TOO_MANY_CARRIERS,
            Some(matcher) => {
                matchers.push(matcher);
                if !carrier.inject {
                    continue;
                }
                refusals::NO_INJECT
            }
            None => refusals::NO_CARRIER,
        };
        let settings = ObjectRef::config_map(NAMESPACE, SETTINGS);
        let text = format!("`{}`: {text}", carrier.source.label());
        problems.push(Problem::of(settings, Severity::Warning, "data.carriers", text));
    }
    (matchers, problems)
}

fn keys_by_service(table: &Table) -> BTreeMap<&ServiceName, Keys<'_>> {
    let mut services = BTreeMap::<&ServiceName, Keys<'_>>::new();
    for (name, _) in table.config().keys.iter() {
        let Ok(key) = name.parse::<RoutingKey>() else { continue };
        for route in table.find(&key).iter().flat_map(KeyRoutes::iter) {
            let keys = services.entry(&route.service).or_default();
            match keys.last_mut().filter(|(last, _)| *last == key) {
                Some((_, routes)) => routes.push(route),
                None => keys.push((key, vec![route])),
            }
        }
    }
    services
}
