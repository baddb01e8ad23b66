//! The table as HTTPRoutes: for Linkerd, which has no Wasm, for Istio ambient, and for every other
//! mesh that routes between Services by the Gateway API (GAMMA, GEP-1426).
//!
//! Each replaced Service port gets HTTPRoutes. They have one rule for each key, whose backend is
//! the target, and behind these the rules for requests without a key. The latter are in every
//! HTTPRoute, because the first HTTPRoute on a Service removes its default route: so a request to
//! the baseline always has a rule, whatever is written first.
//! - [`expression`]: the regular expression that matches a key in a `baggage` line.
//! - [`packing`]: which HTTPRoute holds which keys.
//! - `rules`: if the user has HTTPRoutes on the Service, skycap repeats each of their rules, once
//!   unchanged and once for each key. A match with one more header ranks above the same match
//!   without it, in the Gateway API and in Linkerd. So a request with a key keeps the filters of
//!   the user's rules and goes to its sandbox, whichever of their matches it fits.
//!   [`policies`](crate::table::policies) holds the user's HTTPRoutes.
//! - HTTPRoutes in another namespace than the Service's apply to the clients there. skycap adds its
//!   own beside them, in that namespace.
//! - `compatibility`, `refusal`: if a mesh would ignore or misread the HTTPRoutes of a Service
//!   port, skycap rejects the port with a problem in the report and writes nothing for it.
//!
//! # Linkerd
//! Seen on Linkerd's own policy controller and proxy of 2026-08, with the Gateway API's CRDs 1.6 on
//! a real API server; this module relies on it:
//! - Routes on a Service are merged. The path length decides first, then the number of headers,
//!   then the method, then the age. (The Gateway API ranks the method above the headers.)
//! - A regular expression for a header is leftmost-first and must span the line. Every header line
//!   is tried alone. A line with a byte above 0x7f matches no expression.
//! - A filter `URLRewrite` or `RequestMirror` makes the policy controller drop the whole HTTPRoute,
//!   although its status says `Accepted`.
//! - `Accepted` does not mean in effect: on opaque ports, on ports whose appProtocol is neither
//!   `http` nor `kubernetes.io/h2c`, and where a `parentRef` names a port that the Service does not
//!   have, HTTPRoutes have no effect.
//! - A GRPCRoute on a Service disables the HTTPRoutes there. A headless Service is not accepted as
//!   a parent.
//! - A backendRef without `namespace` resolves in the namespace of the parent, against the
//!   specification.
//! - Several backends whose weights are all 0 pass admission, and then the proxy closes every
//!   connection.
//! - A proxy whose policy for one port exceeds 4 MiB keeps the last one that fit; a new proxy gets
//!   none.
//! - Every change of a route makes the policy controller process all pending routes again: a burst
//!   of 80 took about 50 s, and 9 s if the writer waited for each.

mod adapter;
mod compatibility;
pub mod expression;
pub mod packing;
mod refusal;
mod replaced_service;
mod rules;
mod service_port;

use skycap_core::config::PluginConfig;

use self::{
    adapter::Adapter, refusal::CarrierProblem, replaced_service::ReplacedService, rules::Matcher,
    service_port::RULE_MATCHES,
};
use crate::{
    objects::{Object, ObjectRef},
    problem::Problem,
    table::{cluster::Cluster, meshes::Meshes, policies::Policies},
};

/// The HTTPRoutes of a table.
#[derive(Debug, Clone, Default)]
pub struct HttpRoutes {
    /// The HTTPRoutes, by namespace and name.
    pub objects: Vec<Object>,
    /// What is rejected and what has no effect.
    pub problems: Vec<Problem>,
    /// The namespace and name prefix of HTTPRoutes that stay as they are in the cluster.
    kept: Vec<(String, String)>,
}

impl HttpRoutes {
    /// The HTTPRoutes of a table; none while the kill switch is on.
    ///
    /// If the input has no Services, their ports are unknown, and only the ports that sandboxes
    /// name get HTTPRoutes.
    #[must_use]
    pub fn new(
        config: &PluginConfig,
        cluster: &Cluster,
        policies: &Policies,
        meshes: &Meshes,
    ) -> Self {
        let mut routes = Self::default();
        if !config.enabled {
            return routes;
        }
        let (matchers, problems) = matchers(config);
        routes.problems = problems;
        let adapter = Adapter { config, cluster, policies, meshes, matchers };
        for service in ReplacedService::all(config) {
            adapter.add_service(&service, &mut routes);
        }
        routes.problems.sort();
        routes.problems.dedup();
        routes
    }

    /// Whether an HTTPRoute of skycap in the cluster stays as it is.
    #[must_use]
    pub fn keeps(&self, reference: &ObjectRef) -> bool {
        self.kept.iter().any(|(namespace, prefix)| {
            reference.namespace.as_ref() == Some(namespace) && reference.name.starts_with(prefix)
        })
    }
}

/// The matchers of the carriers, and the problems with carriers that HTTPRoutes cannot match.
fn matchers(config: &PluginConfig) -> (Vec<Matcher>, Vec<Problem>) {
    let mut matchers = Vec::new();
    let mut problems = Vec::new();
    for carrier in &config.carriers {
        let problem = match Matcher::new(carrier) {
            None => CarrierProblem::NoMatch,
            Some(_) if matchers.len() == RULE_MATCHES => CarrierProblem::TooMany,
            Some(matcher) => {
                matchers.push(matcher);
                if !carrier.inject {
                    continue;
                }
                CarrierProblem::NoInject
            }
        };
        problems.push(problem.of(carrier));
    }
    (matchers, problems)
}
