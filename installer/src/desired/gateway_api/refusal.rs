//! Why a Service port gets no HTTPRoutes, and why a carrier has no effect: types and their texts.

use skycap_core::carrier::Carrier;

use super::service_port::{POLICY_LIMIT, RULE_MATCHES};
use crate::{
    names::{NAMESPACE, SETTINGS},
    objects::ObjectRef,
    problem::{Problem, Severity},
};

/// Why a Service port gets no HTTPRoutes, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "the Service has no ClusterIP, and a mesh routes only by ClusterIP; recreate it with one"
    )]
    Headless,
    #[error(
        "the ports of the Service are unknown; pass its manifest with -f, or set `port` in `routes`"
    )]
    UnknownPorts,
    /// A port that Linkerd treats as opaque.
    #[error(
        "Linkerd treats port {port} as opaque (`config.linkerd.io/opaque-ports`), so HTTPRoutes have \
         no effect there; set the annotation without this port"
    )]
    OpaquePort { port: u16 },
    #[error(
        "invalid appProtocol `{protocol}` for port {port}: the mesh does not treat it as HTTP; expected \
         `http` or `kubernetes.io/h2c`"
    )]
    AppProtocol { port: u16, protocol: String },
    #[error(
        "a GRPCRoute on a Service disables its HTTPRoutes (GEP-1426); make it an HTTPRoute, which also \
         matches gRPC"
    )]
    GrpcRoute,
    #[error(
        "a ServiceProfile with `routes` or `dstOverrides` overrides all HTTPRoutes of the Service; \
         remove these fields, then restart the clients of the Service"
    )]
    ServiceProfile,
    /// An HTTPRoute of the user without a port, beside others that must name it.
    #[error(
        "Istio applies either HTTPRoutes that name a port or HTTPRoutes that name none, whichever are \
         older; set `port` in all parentRefs to the Service"
    )]
    MixedPorts,
    #[error("it has the name of an HTTPRoute of skycap but not its label; rename it")]
    NameTaken,
    #[error(
        "the routes of the port take {bytes} bytes of a proxy's policy: expected at most \
         {POLICY_LIMIT} (the limit of gRPC is 4 MiB; above it, no client of the Service gets the \
         policy); delete sandboxes"
    )]
    PolicyTooLarge { bytes: usize },
    #[error("skycap cannot repeat a route that is limited to some hosts; remove `hostnames`")]
    Hostnames,
    #[error(
        "the rule has no backendRefs, so its requests get a 500; name the Service itself as backend"
    )]
    NoBackends,
    #[error("all weights are 0, which makes Linkerd close every connection; set one of them to 1")]
    ZeroWeights,
    /// A match that already tests the header or the query parameter of a carrier.
    #[error(
        "the match tests `{name}`, which also carries the routing key, and a match can test a name \
         only once; match something else, or replace the route by a sandbox"
    )]
    TestsCarrier { name: String },
    #[error("the list has {limit} entries, so there is no room for the routing key; remove one")]
    FullList { limit: usize },
    #[error("invalid regular expression `{expression}`: {reason}; correct it")]
    InvalidExpression { expression: String, reason: String },
    #[error(
        "Linkerd does not support the filter `{filter}` and drops the whole HTTPRoute, although its \
         status is `Accepted`; remove the filter"
    )]
    DroppedFilter { filter: String },
}

/// Why a carrier of the settings has no effect, or not its whole effect, on HTTPRoutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum CarrierProblem {
    #[error(
        "meshes of the Gateway API ignore this carrier, because an HTTPRoute cannot match it; use \
         baggage, a header or a query parameter"
    )]
    NoMatch,
    #[error(
        "`inject` has no effect on meshes of the Gateway API, which cannot add to a header; let the \
         first service add the key to baggage"
    )]
    NoInject,
    #[error(
        "meshes of the Gateway API ignore this carrier, because a rule of an HTTPRoute can match only \
         {RULE_MATCHES} carriers; remove another carrier"
    )]
    TooMany,
}

impl CarrierProblem {
    /// The warning for a carrier.
    pub(super) fn of(self, carrier: &Carrier) -> Problem {
        let settings = ObjectRef::config_map(NAMESPACE, SETTINGS);
        let text = format!("`{}`: {self}", carrier.source.label());
        Problem::of(settings, Severity::Warning, "data.carriers", text)
    }
}
