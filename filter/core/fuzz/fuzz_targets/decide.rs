//! Whatever a request contains, the effect is one that laws 1 and 4 allow.
#![no_main]

use std::{borrow::Cow, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use skycap_core::{
    decision::decide, decision_header::DecisionHeader, effect::HeaderEdit, reason::Reason,
    request::Request, table::{Seed, Table},
};

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    Table::from_json(
        br#"{"version":"1.0","carriers":[{"baggage":"sandbox"},{"tracestate":"s"},
            {"header":"x-tenant","inject":true},{"cookie":"s"},{"query":"s"},{"host":"{key}.example.com"}],
            "routes":[{"service":"cart.shop","to":"cart-{key}"},
                {"service":"cart.shop","port":81,"to":"x","toPort":82,"unavailable":true}],
            "keys":"pr-1:0,1"}"#,
        Seed::new([1, 2]),
    )
    .expect("a valid table")
});

/// Fields separated by line feeds: baggage, tracestate, x-tenant, cookie, :path and cluster.
///
/// If there is a seventh field, it is the virtual host, and the client sent the dispatch header.
struct Fields<'a>(Vec<&'a [u8]>);

impl Request for Fields<'_> {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let names = ["baggage", "tracestate", "x-tenant", "cookie", ":path"];
        let place = names.iter().position(|other| *other == name)?;
        self.0.get(place).filter(|value| !value.is_empty()).map(|value| Cow::from(*value))
    }

    fn has_header(&self, _: &str) -> bool {
        self.0.len() > 6
    }

    fn cluster_name(&self) -> Option<Vec<u8>> {
        self.0.get(5).map(|name| name.to_vec())
    }

    fn virtual_host_name(&self) -> Option<Vec<u8>> {
        self.0.get(6).map(|name| name.to_vec())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let request = Fields(bytes.split(|byte| *byte == b'\n').collect());
    let decision = decide(&TABLE, &request);
    let effect = decision.effect();
    let forged = request.has_header("");
    match (decision.reason, &effect.dispatch) {
        (Reason::Routed, Some(HeaderEdit::Set(_, value))) => {
            assert!(value.ends_with("||cart-pr-1.shop.svc.cluster.local"));
        }
        (Reason::Routed, _) => panic!("a routed request must set the cluster"),
        (_, edit) => assert_eq!(edit.is_some(), forged, "laws 1 and 4"),
    }
    assert_eq!(effect.response.is_some(), decision.reason == Reason::Unavailable);
    assert!(effect.baggage.is_none() || decision.key.is_some());
    // The decision header is one line of visible ASCII.
    let line = DecisionHeader(&decision).to_string();
    assert!(line.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{line}");
});
