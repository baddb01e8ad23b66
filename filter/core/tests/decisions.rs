//! What a decision reads (law 6), which requests it does not change (law 1), and how it is explained.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::{borrow::Cow, cell::RefCell};

use skycap_core::{
    decision::decide,
    decision_header::DecisionHeader,
    effect::Effect,
    explain::Explain,
    reason::Reason,
    request::Request,
    table::{Seed, Table},
};

const CART: &str = "outbound|80||cart.shop.svc.cluster.local";

/// A request that records what is read from it.
#[derive(Default)]
struct Recorder {
    headers: Vec<(&'static str, &'static [u8])>,
    cluster: &'static str,
    read: RefCell<Vec<String>>,
}

impl Recorder {
    fn new(headers: &[(&'static str, &'static [u8])]) -> Self {
        Self { headers: headers.to_vec(), cluster: CART, read: RefCell::default() }
    }
}

impl Request for Recorder {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.read.borrow_mut().push(name.to_owned());
        let found = self.headers.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| Cow::from(*value))
    }

    fn has_header(&self, name: &str) -> bool {
        self.read.borrow_mut().push(format!("{name}?"));
        self.headers.iter().any(|(other, _)| *other == name)
    }

    fn cluster_name(&self) -> Option<Vec<u8>> {
        self.read.borrow_mut().push("cluster".into());
        Some(self.cluster.into())
    }

    fn virtual_host_name(&self) -> Option<Vec<u8>> {
        self.read.borrow_mut().push("virtual host".into());
        Some(b"cart.shop.svc.cluster.local:80".to_vec())
    }
}

/// A table with this many sandboxes, which all replace `cart.shop`, and with additional fields.
#[expect(clippy::expect_used, reason = "an invalid table is a mistake in the test")]
fn table(sandboxes: usize, fields: &str) -> Table {
    let keys: Vec<_> = (0..sandboxes).map(|n| format!("pr-{n}:0")).collect();
    let json = format!(
        "{{\"version\":\"1.0\",{fields}\"routes\":[{{\"service\":\"cart.shop\",\"to\":\"cart-{{key}}\"}}],\
         \"keys\":\"{}\"}}",
        keys.join(" ")
    );
    Table::from_json(json.as_bytes(), Seed::new([1, 2])).expect("a valid table")
}

#[test]
fn only_what_the_decision_needs_is_read() {
    let forged = "x-skycap-cluster?";
    for sandboxes in [2, 20_000] {
        let table = table(sandboxes, "");
        for (headers, read) in [
            (&[][..], &[forged, "baggage"][..]),
            (&[("baggage", &b"a=b"[..])], &[forged, "baggage"]),
            (&[("baggage", b"sandbox=nobody")], &[forged, "baggage"]),
            (&[("baggage", b"sandbox=pr-1")], &[forged, "baggage", "cluster"]),
            (
                &[("baggage", b"sandbox=pr-1"), ("x-skycap-cluster", b"")],
                &[forged, "baggage", "virtual host"],
            ),
        ] {
            let request = Recorder::new(headers);
            let _ = decide(&table, &request).effect();
            assert_eq!(*request.read.borrow(), read, "{headers:?}");
        }
    }
    let names = "\"carriers\":[{\"baggage\":\"a\"},{\"baggage\":\"b\"},{\"query\":\"c\"}],";
    let request = Recorder::new(&[("baggage", b"c=d")]);
    let _ = decide(&table(2, names), &request);
    assert_eq!(*request.read.borrow(), [forged, "baggage", ":path"]);
    let off = table(2, "\"enabled\":false,");
    let request = Recorder::new(&[("baggage", b"sandbox=pr-1")]);
    assert_eq!(decide(&off, &request).reason, Reason::Disabled);
    assert_eq!(*request.read.borrow(), [forged]);
}

#[test]
fn without_a_sandbox_the_effect_is_empty() {
    let key = &b"sandbox=pr-1"[..];
    for dispatch in ["cluster-header", "authority", "header"] {
        let fields = format!("\"dispatch\":\"{dispatch}\",");
        let routed = decide(&table(2, &fields), &Recorder::new(&[("baggage", key)])).effect();
        assert_ne!(routed, Effect::default(), "{dispatch}");
        for (table, baggage, cluster) in [
            (table(0, &fields), key, CART),
            (table(2, &fields), b"sandbox=pr-2", CART),
            (table(2, &fields), b"\xff=\xfe,%", CART),
            (table(2, &fields), key, "outbound|80||pricing.shop.svc.cluster.local"),
            (table(2, &fields), key, "outbound|443||example.com"),
            (table(2, &fields), key, ""),
            (table(2, &format!("\"enabled\":false,{fields}")), key, CART),
        ] {
            let request = Recorder { cluster, ..Recorder::new(&[("baggage", baggage)]) };
            let decision = decide(&table, &request);
            assert_eq!(decision.effect(), Effect::default(), "{dispatch} {:?}", decision.reason);
        }
    }
}

#[test]
fn a_route_for_the_port_precedes_one_for_all_ports() {
    let json = br#"{"version":"1.0","routes":[{"service":"cart.shop","to":"all"},
        {"service":"cart.shop","port":81,"to":"other"},{"service":"cart.shop","port":80,"to":"own"}],
        "keys":"pr-1:0,1,2 pr-2:0,1 pr-3:1"}"#;
    let table = Table::from_json(json, Seed::new([1, 2])).unwrap();
    for (key, target) in [("pr-1", Some("own")), ("pr-2", Some("all")), ("pr-3", None)] {
        let baggage = format!("sandbox={key}").leak().as_bytes();
        let decision = decide(&table, &Recorder::new(&[("baggage", baggage)])).target();
        let expected = target.map(|target| (format!("{target}.shop"), 80));
        assert_eq!(decision, expected, "{key}");
    }
}

#[test]
fn the_explanation_contains_what_is_known() {
    let table = table(2, "\"generation\":\"0123456789ab\",");
    let explain = |headers: &[(&'static str, &'static [u8])]| {
        DecisionHeader(&decide(&table, &Recorder::new(headers))).to_string()
    };
    assert_eq!(explain(&[]), "\"-\";reason=no_key;table=\"0123456789ab\"");
    assert_eq!(
        explain(&[("baggage", b"sandbox=pr-1")]),
        "\"cart.shop:80\";reason=routed;key=\"pr-1\";carrier=\"baggage sandbox\";\
         route=\"cart.shop\";target=\"cart-pr-1.shop:80\";table=\"0123456789ab\""
    );
    assert_eq!(
        explain(&[("baggage", b"sandbox=%zz"), ("x-skycap-cluster", b"x")]),
        "\"-\";reason=no_key;dropped=\"forged_dispatch malformed_member\";table=\"0123456789ab\""
    );
}

/// Found by the fuzz target `decide`.
#[test]
fn a_cluster_name_with_other_bytes_than_a_service_is_foreign() {
    let cluster = "outbound|80||ca\0:.shop.svc.cluster.local";
    let request = Recorder { cluster, ..Recorder::new(&[("baggage", b"sandbox=pr-1")]) };
    let table = table(2, "");
    assert_eq!(decide(&table, &request).reason, Reason::ForeignDestination);
}

#[test]
fn explain_allows_only_its_own_value() {
    for (setting, value, allowed) in [
        ("off", "1", false),
        ("on", "1", true),
        ("on", "0", false),
        ("on", "", false),
        ("token:abc", "abc", true),
        ("token:abc", "token:abc", false),
        ("token:abc", "1", false),
    ] {
        let explain: Explain = setting.parse().unwrap();
        assert_eq!(explain.allows(value.as_bytes()), allowed, "{setting} {value}");
    }
}

#[test]
fn no_two_reasons_have_the_same_label_or_text() {
    let reasons = || Reason::OUTCOMES.into_iter().chain(Reason::DROPS);
    for words in [Reason::label, Reason::text] {
        let mut words: Vec<_> = reasons().map(words).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), reasons().count());
    }
}
