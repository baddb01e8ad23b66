//! A request without a known key does not allocate.
//!
//! Native only: the counter is a global allocator.
#![cfg(not(target_arch = "wasm32"))]

use std::borrow::Cow;

use skycap_core::{
    decision::decide,
    reason::Reason,
    request::Request,
    table::{Seed, Table},
};

/// A request with this baggage and nothing else.
struct Baggage(&'static [u8]);

impl Request for Baggage {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        (name == "baggage" && !self.0.is_empty()).then_some(Cow::Borrowed(self.0))
    }

    fn has_header(&self, _: &str) -> bool {
        false
    }

    fn cluster_name(&self) -> Option<Vec<u8>> {
        None
    }

    fn virtual_host_name(&self) -> Option<Vec<u8>> {
        None
    }
}

#[test]
fn a_decision_without_a_known_key_does_not_allocate() {
    let json =
        br#"{"version":"1.0","carriers":[{"baggage":"sandbox"},{"tracestate":"s"},{"query":"s"}],
        "routes":[{"service":"cart.shop","to":"cart-{key}"}],"keys":"pr-1:0"}"#;
    let table = Table::from_json(json, Seed::new([1, 2])).unwrap();
    for (baggage, reason) in [
        (&b""[..], Reason::NoKey),
        (b"a=b;c=d , e=%20f, my-sandbox=pr-1", Reason::NoKey),
        (b"sandbox=%zz,sandbox,sandbox=p/r", Reason::NoKey),
        (b"sandbox=nobody", Reason::UnknownKey),
    ] {
        let request = Baggage(baggage);
        let mut found = None;
        let counted = allocation_counter::measure(|| {
            let decision = decide(&table, &request);
            found = Some((decision.reason, decision.effect()));
        });
        assert_eq!(found.map(|(reason, _)| reason), Some(reason));
        assert_eq!(counted.count_total, 0, "`{}`", baggage.escape_ascii());
    }
}
