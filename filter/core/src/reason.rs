//! Why a request went where it went: one enum, with a label and a text for each reason.

use core::fmt;

/// An outcome of a request, or a reason why a value in it was dropped.
///
/// Counters, logs, the decision header, `skycap explain` and the test cases all use this enum. A
/// request has exactly one outcome and any number of drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    // Outcomes.
    /// Routing is disabled (the kill switch).
    Disabled,
    /// At an edge, the gateway's own route to this destination has a policy that the dispatch would
    /// skip.
    EdgePolicy,
    /// Envoy selected a destination that is not a Service of this Kubernetes cluster.
    ForeignDestination,
    /// Envoy reported no cluster name.
    NoDestination,
    /// No carrier contains a routing key.
    NoKey,
    /// No table has been accepted yet.
    NoTable,
    /// Envoy did not accept the change of a request that was to go to the sandbox.
    NotApplied,
    /// The key is known, but does not replace this destination.
    NotReplaced,
    /// The target has another port number than the destination, which dispatch `authority` cannot
    /// reach.
    PortMismatch,
    /// The request went to the sandbox.
    Routed,
    /// The target is unavailable, and `onUnavailable` is `fail`.
    Unavailable,
    /// No enabled sandbox or group has the key.
    UnknownKey,
    // Drops.
    /// A list is longer than its limit.
    CarrierTooLong,
    /// The client sent the dispatch header.
    ForgedDispatch,
    /// Envoy did not accept the new value of `baggage`.
    InjectionNotApplied,
    /// With the key, `baggage` would exceed W3C's limits.
    InjectionTooLong,
    /// A value is not a routing key.
    InvalidKey,
    /// A list member does not match its grammar.
    MalformedMember,
    /// The key came from outside, and the edge does not accept it.
    NotAccepted,
}

impl Reason {
    /// All outcomes, in the order of their counters.
    pub const OUTCOMES: [Self; 12] = [
        Self::Disabled,
        Self::EdgePolicy,
        Self::ForeignDestination,
        Self::NoDestination,
        Self::NoKey,
        Self::NoTable,
        Self::NotApplied,
        Self::NotReplaced,
        Self::PortMismatch,
        Self::Routed,
        Self::Unavailable,
        Self::UnknownKey,
    ];

    /// All drops, in the order of their counters.
    pub const DROPS: [Self; 7] = [
        Self::CarrierTooLong,
        Self::ForgedDispatch,
        Self::InjectionNotApplied,
        Self::InjectionTooLong,
        Self::InvalidKey,
        Self::MalformedMember,
        Self::NotAccepted,
    ];

    /// The index in [`Self::OUTCOMES`] followed by [`Self::DROPS`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name in metrics, headers and JSON: lower case, with `_`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::EdgePolicy => "edge_policy",
            Self::ForeignDestination => "foreign_destination",
            Self::NoDestination => "no_destination",
            Self::NoKey => "no_key",
            Self::NoTable => "no_table",
            Self::NotApplied => "not_applied",
            Self::NotReplaced => "not_replaced",
            Self::PortMismatch => "port_mismatch",
            Self::Routed => "routed",
            Self::Unavailable => "unavailable",
            Self::UnknownKey => "unknown_key",
            Self::CarrierTooLong => "carrier_too_long",
            Self::ForgedDispatch => "forged_dispatch",
            Self::InjectionNotApplied => "injection_not_applied",
            Self::InjectionTooLong => "injection_too_long",
            Self::InvalidKey => "invalid_key",
            Self::MalformedMember => "malformed_member",
            Self::NotAccepted => "not_accepted",
        }
    }

    /// The description: a sentence without a full stop.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Disabled => "routing is disabled in the settings",
            Self::EdgePolicy => {
                "the gateway's own route has a policy that the sandbox's route would skip, so the \
                 sandbox is used from the next hop on"
            }
            Self::ForeignDestination => {
                "the destination that Envoy selected is not a Service of this Kubernetes cluster"
            }
            Self::NoDestination => {
                "Envoy reported no cluster name (weighted clusters, or no matching route)"
            }
            Self::NoKey => "no carrier of the request contains a routing key",
            Self::NoTable => "no routing table has been accepted yet",
            Self::NotApplied => "Envoy did not accept the change of the request",
            Self::NotReplaced => "the sandbox does not replace this destination",
            Self::PortMismatch => {
                "dispatch `authority` cannot reach a target on a different port number"
            }
            Self::Routed => "the sandbox replaces this destination",
            Self::Unavailable => "the target is unavailable, and `onUnavailable` is `fail`",
            Self::UnknownKey => "no enabled sandbox or group has this key",
            Self::CarrierTooLong => "a list exceeds its length limit and is treated as absent",
            Self::ForgedDispatch => "the client sent the dispatch header, which was removed",
            Self::InjectionNotApplied => "Envoy did not accept the new value of `baggage`",
            Self::InjectionTooLong => {
                "the key was not added to `baggage`, which would exceed W3C's limits"
            }
            Self::InvalidKey => {
                "a value is not a routing key (expected 1 to 64 of `A-Z a-z 0-9 . _ ~ -`)"
            }
            Self::MalformedMember => "a list member with the carrier's name is malformed",
            Self::NotAccepted => "the key comes from outside, and the edge does not accept it",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// The set of drops in one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops(u32);

impl Drops {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// Adds `reason`, which must be one of [`Reason::DROPS`].
    pub const fn add(&mut self, reason: Reason) {
        self.0 |= Self::bit(reason);
    }

    /// Whether the set contains `reason`.
    #[must_use]
    pub const fn contains(self, reason: Reason) -> bool {
        self.0 & Self::bit(reason) != 0
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The drops, in the order of [`Reason::DROPS`].
    pub fn iter(self) -> impl Iterator<Item = Reason> {
        Reason::DROPS.into_iter().filter(move |reason| self.contains(*reason))
    }

    const fn bit(reason: Reason) -> u32 {
        1_u32.wrapping_shl(reason as u32)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::Reason;

    #[test]
    fn index_is_the_position_in_outcomes_and_drops() {
        let reasons = Reason::OUTCOMES.into_iter().chain(Reason::DROPS);
        assert!(reasons.enumerate().all(|(position, reason)| reason.index() == position));
    }
}
