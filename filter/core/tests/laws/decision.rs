//! Laws 1, 3 and 4: which requests are changed, which carrier decides, and what is removed.

use std::borrow::Cow;

use proptest::{prelude::*, sample::select};
use skycap_core::{
    decision::decide,
    effect::{Effect, HeaderEdit},
    reason::Reason,
    request::Request,
    table::{Seed, Table},
};

/// A request with these headers for `cart.shop` on port 80.
struct Headers(Vec<(&'static str, Vec<u8>)>);

impl Request for Headers {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let found = self.0.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| Cow::from(value))
    }

    fn has_header(&self, name: &str) -> bool {
        self.0.iter().any(|(other, _)| *other == name)
    }

    fn cluster_name(&self) -> Option<Vec<u8>> {
        Some(b"outbound|80||cart.shop.svc.cluster.local".to_vec())
    }

    fn virtual_host_name(&self) -> Option<Vec<u8>> {
        Some(b"cart.shop.svc.cluster.local:80".to_vec())
    }
}

/// Each carrier, with a header and a value in which only this carrier finds a key.
const CARRIERS: [(&str, &str, &str); 6] = [
    ("{\"baggage\":\"sandbox\"}", "baggage", "a=b,sandbox=k0"),
    ("{\"tracestate\":\"s\"}", "tracestate", "a=b,s=k1"),
    ("{\"header\":\"x-s\"}", "x-s", "k2"),
    ("{\"cookie\":\"s\"}", "cookie", "a=b; s=k3"),
    ("{\"query\":\"s\"}", ":path", "/?a=b&s=k4"),
    ("{\"host\":\"{key}.example.com\"}", ":authority", "k5.example.com"),
];

/// Each dispatch, with its dispatch header.
const DISPATCHES: [(&str, Option<&str>); 3] = [
    ("authority", None),
    ("cluster-header", Some("x-skycap-cluster")),
    ("header", Some("x-skycap-sandbox")),
];

/// A table in which `key` replaces `service`. Its second carrier injects.
#[expect(clippy::expect_used, reason = "an invalid table is a mistake in the test")]
fn table(dispatch: &str, enabled: bool, key: &str, service: &str) -> Table {
    let json = format!(
        "{{\"version\":\"1.0\",\"dispatch\":\"{dispatch}\",\"enabled\":{enabled},\
         \"carriers\":[{{\"baggage\":\"sandbox\"}},{{\"header\":\"x-s\",\"inject\":true}}],\
         \"routes\":[{{\"service\":\"{service}\",\"to\":\"sandbox-{{key}}\"}}],\"keys\":\"{key}:0\"}}"
    );
    Table::from_json(json.as_bytes(), Seed::new([1, 2])).expect("a valid table")
}

fn decided(table: &Table, request: &Headers) -> (Reason, Effect) {
    let decision = decide(table, request);
    (decision.reason, decision.effect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Laws 1 and 4. Each request has a key, and is routed if the table has this key, so a filter
    /// that changes too much has something to change.
    #[test]
    fn without_a_sandbox_only_a_forged_dispatch_header_is_removed(
        (dispatch, owned) in select(&DISPATCHES[..]),
        key in "[a-z0-9]{1,8}",
        in_baggage in any::<bool>(),
        forged in any::<bool>(),
    ) {
        let other = "a=b;c , d=%20";
        let list = if in_baggage { format!("{other},sandbox={key}") } else { other.to_owned() };
        let mut headers = vec![("baggage", list.into_bytes())];
        headers.extend((!in_baggage).then(|| ("x-s", key.clone().into_bytes())));
        headers.extend(owned.filter(|_| forged).map(|owned| (owned, b"x".to_vec())));
        let request = Headers(headers);
        let (reason, effect) = decided(&table(dispatch, true, &key, "cart.shop"), &request);
        prop_assert_eq!(reason, Reason::Routed);
        prop_assert!(matches!(effect.dispatch, Some(HeaderEdit::Set(..))));
        let injected = (!in_baggage).then(|| format!("sandbox={key},{other}").into_bytes());
        prop_assert_eq!(&effect.baggage, &injected);

        let dispatch_edit = owned.filter(|_| forged).map(HeaderEdit::Remove);
        let unchanged = Effect { dispatch: dispatch_edit, ..Effect::default() };
        let unknown = table(dispatch, true, &format!("{key}x"), "cart.shop");
        prop_assert_eq!(decided(&unknown, &request), (Reason::UnknownKey, unchanged.clone()));
        let disabled = table(dispatch, false, &key, "cart.shop");
        prop_assert_eq!(decided(&disabled, &request), (Reason::Disabled, unchanged.clone()));
        // A known key is injected even here: it may replace a Service behind this destination.
        let not_replaced = table(dispatch, true, &key, "pricing.shop");
        let effect = Effect { baggage: injected, ..unchanged };
        prop_assert_eq!(decided(&not_replaced, &request), (Reason::NotReplaced, effect));
    }

    /// Law 3, for every order of the carriers, and with any of them absent or without a key.
    #[test]
    fn the_first_carrier_with_a_key_decides(
        order in Just([0, 1, 2, 3, 4, 5]).prop_shuffle(),
        present in any::<[bool; 6]>(),
        invalid in any::<[bool; 6]>(),
    ) {
        let carriers: Vec<_> = order.iter().map(|carrier| CARRIERS[*carrier].0).collect();
        let json = format!("{{\"version\":\"1.0\",\"carriers\":[{}]}}", carriers.join(","));
        let table = Table::from_json(json.as_bytes(), Seed::new([1, 2])).expect("a valid table");
        let headers = (0..6).filter(|carrier| present[*carrier]).map(|carrier| {
            let (_, header, value) = CARRIERS[carrier];
            // A quotation mark is not part of any key.
            let value = if invalid[carrier] { value.replace('k', "\"") } else { value.into() };
            (header, value.into_bytes())
        });
        let request = Headers(headers.collect());
        let first = order.iter().find(|carrier| present[**carrier] && !invalid[**carrier]);
        let key = decide(&table, &request).key.map(|(key, _)| key.to_string());
        prop_assert_eq!(key, first.map(|carrier| format!("k{carrier}")));
    }
}
