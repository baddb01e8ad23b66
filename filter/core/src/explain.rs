//! The decision header: one request's way through one hop, in one line.

use core::fmt;

use crate::decision::Decision;

/// The value of `x-skycap-decision` for one hop.
///
/// A member of a list of Structured Fields (RFC 9651), so that several hops make one list:
/// `"cart.shop:80";reason=routed;key="pr-1";carrier="baggage sandbox";route="cart.shop";`
/// `target="cart-pr-1.shop:80";table="6d1f0c9a22b4"`. What is not known is left out; the item is
/// the destination, or `"-"`. Every string is of ASCII that needs no escape: destinations, keys
/// and targets are names, and carriers are checked when the table is read.
#[derive(Debug, Clone, Copy)]
pub struct Explanation<'a>(pub &'a Decision<'a>);

impl fmt::Display for Explanation<'_> {
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
            let labels: Vec<_> = decision.drops.iter().map(crate::reason::Reason::label).collect();
            write!(f, ";dropped=\"{}\"", labels.join(" "))?;
        }
        write!(f, ";table=\"{}\"", decision.table().config().generation)
    }
}
