//! Whatever comes from outside, behind an edge nobody reads a key that the edge does not accept.
#![no_main]

use std::{borrow::Cow, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use skycap_core::{
    decision::decide, effect::CarrierEdit, reason::Reason, request::Request, table::{Seed, Table},
};

static EDGE: LazyLock<Table> = LazyLock::new(|| table().placed_by(true, |_| None));

static INSIDE: LazyLock<Table> = LazyLock::new(table);

fn table() -> Table {
    Table::from_json(
        br#"{"version":"1.0","carriers":[{"baggage":"sandbox"},{"tracestate":"s"},
            {"header":"x-tenant","inject":true},{"cookie":"s"},{"query":"s"}],
            "edge":"gateways accept:demo-* host:{key}.example.com guard:pay.shop",
            "routes":[{"service":"cart.shop","to":"cart-{key}"}],"keys":"pr-1:0 demo-1:0"}"#,
        Seed::new([1, 2]),
    )
    .expect("a valid table")
}

/// Fields separated by line feeds: baggage, tracestate, x-tenant, cookie, :path and :authority.
struct Fields<'a>(Vec<&'a [u8]>);

const NAMES: [&str; 6] = ["baggage", "tracestate", "x-tenant", "cookie", ":path", ":authority"];

impl Request for Fields<'_> {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let place = NAMES.iter().position(|other| *other == name)?;
        self.0.get(place).filter(|value| !value.is_empty()).map(|value| Cow::from(*value))
    }

    fn has_header(&self, _: &str) -> bool {
        false
    }

    fn cluster_name(&self) -> Option<Vec<u8>> {
        Some(b"outbound|80||cart.shop.svc.cluster.local".to_vec())
    }

    fn virtual_host_name(&self) -> Option<Vec<u8>> {
        None
    }
}

/// The request behind the edge.
struct Behind<'a>(&'a Fields<'a>, &'a [CarrierEdit]);

impl Request for Behind<'_> {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        match self.1.iter().find(|edit| edit.header == name) {
            Some(edit) => edit.value.as_deref().map(Cow::from),
            None => self.0.header(name),
        }
    }

    fn has_header(&self, name: &str) -> bool {
        self.0.has_header(name)
    }

    fn cluster_name(&self) -> Option<Vec<u8>> {
        self.0.cluster_name()
    }

    fn virtual_host_name(&self) -> Option<Vec<u8>> {
        None
    }
}

fuzz_target!(|bytes: &[u8]| {
    let request = Fields(bytes.split(|byte| *byte == b'\n').collect());
    let mut decision = decide(&EDGE, &request);
    let edits = decision.edge_edits(&request);
    let accepted = decision.key.as_ref().map(|(key, _)| *key);
    assert!(accepted.is_none_or(|key| key.as_str().starts_with("demo-")), "{accepted:?}");
    assert_eq!(decision.reason == Reason::NoKey, accepted.is_none());
    // A key that does not fit is dropped, and counted, not cut.
    let inside = decide(&INSIDE, &Behind(&request, &edits)).key.map(|(key, _)| key);
    if decision.drops.contains(Reason::InjectionTooLong) {
        assert_eq!(inside, None);
    } else {
        assert_eq!(inside, accepted);
    }
});
