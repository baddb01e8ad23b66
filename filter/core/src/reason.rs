//! Why a request went where it went: one enum, one label and one text for each.

use core::fmt;

/// Every outcome of a request, and every drop on its way there.
///
/// Counters, logs, the decision header, `skycap explain` and the case table all speak with these.
/// A request has exactly one outcome and any number of drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    // Outcomes.
    /// The kill switch is on.
    Disabled,
    /// Envoy picked a cluster that is no Service of this cluster.
    ForeignDestination,
    /// Envoy picked no cluster, or none that it names.
    NoDestination,
    /// No carrier holds a routing key.
    NoKey,
    /// No table has been accepted yet.
    NoTable,
    /// The key is known, but replaces something else.
    NotReplaced,
    /// The target cannot be had on the destination's port number, which dispatch `authority` needs.
    PortMismatch,
    /// The request went to the sandbox.
    Routed,
    /// The target is unavailable and its sandbox says `fail`.
    Unavailable,
    /// No sandbox and no group has the key.
    UnknownKey,
    // Drops.
    /// A list that is over its limit of bytes.
    CarrierTooLong,
    /// A client sent the dispatch header.
    ForgedDispatch,
    /// The key would take `baggage` over W3C's limits.
    InjectionTooLong,
    /// A value that is no routing key.
    InvalidKey,
    /// A list member outside its grammar.
    MalformedMember,
}

impl Reason {
    /// All outcomes, in the order of their counters.
    pub const OUTCOMES: [Self; 10] = [
        Self::Disabled,
        Self::ForeignDestination,
        Self::NoDestination,
        Self::NoKey,
        Self::NoTable,
        Self::NotReplaced,
        Self::PortMismatch,
        Self::Routed,
        Self::Unavailable,
        Self::UnknownKey,
    ];

    /// All drops, in the order of their counters.
    pub const DROPS: [Self; 5] = [
        Self::CarrierTooLong,
        Self::ForgedDispatch,
        Self::InjectionTooLong,
        Self::InvalidKey,
        Self::MalformedMember,
    ];

    /// Its place in [`Self::OUTCOMES`] with [`Self::DROPS`] behind them.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word for it in metrics, headers and JSON: lower case, with `_`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::ForeignDestination => "foreign_destination",
            Self::NoDestination => "no_destination",
            Self::NoKey => "no_key",
            Self::NoTable => "no_table",
            Self::NotReplaced => "not_replaced",
            Self::PortMismatch => "port_mismatch",
            Self::Routed => "routed",
            Self::Unavailable => "unavailable",
            Self::UnknownKey => "unknown_key",
            Self::CarrierTooLong => "carrier_too_long",
            Self::ForgedDispatch => "forged_dispatch",
            Self::InjectionTooLong => "injection_too_long",
            Self::InvalidKey => "invalid_key",
            Self::MalformedMember => "malformed_member",
        }
    }

    /// The sentence for it, without a full stop.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Disabled => "routing is switched off in the settings",
            Self::ForeignDestination => {
                "the destination that Envoy picked is no Service of this cluster"
            }
            Self::NoDestination => "Envoy picked no cluster that it names (weighted or no route)",
            Self::NoKey => "no carrier of the request holds a routing key",
            Self::NoTable => "no routing table has been accepted yet",
            Self::NotReplaced => "the sandbox does not replace this destination",
            Self::PortMismatch => {
                "dispatch `authority` cannot reach a target on another port number"
            }
            Self::Routed => "the sandbox replaces this destination",
            Self::Unavailable => {
                "the sandbox's Service has no ready endpoint and its sandbox says `fail`"
            }
            Self::UnknownKey => "no sandbox or group that is switched on has this key",
            Self::CarrierTooLong => "a list is longer than its limit and counts as absent",
            Self::ForgedDispatch => "the client sent the dispatch header, which was removed",
            Self::InjectionTooLong => {
                "the key was not put into `baggage`, which would pass W3C's limits"
            }
            Self::InvalidKey => "a value is no routing key (1 to 64 of `A-Z a-z 0-9 . _ ~ -`)",
            Self::MalformedMember => "a list member of the carrier's name is malformed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// The set of drops of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops(u32);

impl Drops {
    /// Nothing was dropped.
    pub const NONE: Self = Self(0);

    /// Adds `reason`, one of [`Reason::DROPS`].
    pub const fn add(&mut self, reason: Reason) {
        self.0 |= Self::bit(reason);
    }

    /// Whether `reason` is one of the drops.
    #[must_use]
    pub const fn contains(self, reason: Reason) -> bool {
        self.0 & Self::bit(reason) != 0
    }

    /// Whether nothing was dropped.
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
    fn reasons_stand_in_the_order_of_their_counters() {
        let reasons = Reason::OUTCOMES.into_iter().chain(Reason::DROPS);
        assert!(reasons.enumerate().all(|(place, reason)| reason.index() == place));
    }
}
