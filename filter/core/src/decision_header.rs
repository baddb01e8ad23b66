//! The decision header: the response header that says how a hop decided.

use core::fmt;

use crate::{decision::Decision, reason::Reason};

/// The value of `x-skycap-decision` for one hop.
///
/// The value is a member of a list of Structured Fields (RFC 9651), so several hops form one list:
/// `"cart.shop:80";reason=routed;key="pr-1";carrier="baggage sandbox";route="cart.shop";`
/// `target="cart-pr-1.shop:80";table="6d1f0c9a22b4"`. The item is the destination, or `"-"` if it
/// is unknown. Other unknown parts are left out. No string needs an escape: destinations, keys and
/// targets are names, and carriers are checked when the table is read.
#[derive(Debug, Clone, Copy)]
pub struct DecisionHeader<'a>(pub &'a Decision<'a>);

impl fmt::Display for DecisionHeader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decision = self.0;
        match &decision.destination {
            Some(destination) => write!(f, "\"{destination}\"")?,
            None => f.write_str("\"-\"")?,
        }
        write!(f, ";reason={}", decision.reason.label())?;
        if let Some((key, carrier)) = &decision.key {
            write!(f, ";key=\"{key}\";carrier=\"{}\"", carrier.source.label())?;
        }
        if let Some(route) = decision.route {
            write!(f, ";route=\"{}", route.service)?;
            route.port.map_or(Ok(()), |port| write!(f, ":{port}"))?;
            f.write_str("\"")?;
        }
        if let Some((name, port)) = decision.target() {
            write!(f, ";target=\"{name}:{port}\"")?;
        }
        if !decision.drops.is_empty() {
            let labels: Vec<_> = decision.drops.iter().map(Reason::label).collect();
            write!(f, ";dropped=\"{}\"", labels.join(" "))?;
        }
        write!(f, ";table=\"{}\"", decision.table().config().generation)
    }
}

/// The response header with the decision: one line for each hop, the innermost hop first.
pub const DECISION_HEADER: &str = "x-skycap-decision";
