//! What a decision asks of a request (law 6), what it leaves alone (law 1), and what it explains.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::{borrow::Cow, cell::RefCell};

use skycap_core::{
    decision::decide,
    effect::Effect,
    explain::{Explain, Explanation},
    reason::Reason,
    request::Request,
    table::Table,
};

/// A request that notes what it is asked for.
#[derive(Default)]
struct Asked {
    headers: Vec<(&'static str, &'static [u8])>,
    cluster: &'static str,
    asked: RefCell<Vec<String>>,
}

impl Asked {
    fn new(headers: &[(&'static str, &'static [u8])]) -> Self {
        let cluster = "outbound|80||cart.shop.svc.cluster.local";
        Self { headers: headers.to_vec(), cluster, asked: RefCell::default() }
    }
}

impl Request for Asked {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.asked.borrow_mut().push(name.to_owned());
        let found = self.headers.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| Cow::from(*value))
    }

    fn has_header(&self, name: &str) -> bool {
        self.asked.borrow_mut().push(format!("{name}?"));
        self.headers.iter().any(|(other, _)| *other == name)
    }

    fn cluster_name(&self) -> Option<Vec<u8>> {
        self.asked.borrow_mut().push("cluster".into());
        Some(self.cluster.into())
    }

    fn virtual_host_name(&self) -> Option<Vec<u8>> {
        self.asked.borrow_mut().push("virtual host".into());
        Some(b"cart.shop.svc.cluster.local:80".to_vec())
    }
}

#[expect(clippy::expect_used, reason = "a table that does not parse is a broken test")]
/// A table of so many sandboxes, which all replace the cart, with these fields beside.
fn table(sandboxes: usize, fields: &str) -> Table {
    let keys: Vec<_> = (0..sandboxes).map(|n| format!("pr-{n}:0")).collect();
    let json = format!(
        "{{\"version\":\"1.0\",{fields}\"routes\":[{{\"service\":\"cart.shop\",\"to\":\"cart-{{key}}\"}}],\
         \"keys\":\"{}\"}}",
        keys.join(" ")
    );
    Table::from_json(json.as_bytes()).expect("a good table")
}

#[test]
fn a_request_is_asked_no_more_than_the_answer_needs() {
    let forged = "x-skycap-cluster?";
    for sandboxes in [2, 20_000] {
        let table = table(sandboxes, "");
        for (headers, asked) in [
            (&[][..], &[forged, "baggage"][..]),
            (&[("baggage", &b"a=b"[..])], &[forged, "baggage"]),
            (&[("baggage", b"sandbox=nobody")], &[forged, "baggage"]),
            (&[("baggage", b"sandbox=pr-1")], &[forged, "baggage", "cluster"]),
            (
                &[("baggage", b"sandbox=pr-1"), ("x-skycap-cluster", b"")],
                &[forged, "baggage", "virtual host"],
            ),
        ] {
            let request = Asked::new(headers);
            let _ = decide(&table, &request).effect();
            assert_eq!(*request.asked.borrow(), asked, "{headers:?}");
        }
    }
    let names = "\"carriers\":[{\"baggage\":\"a\"},{\"baggage\":\"b\"},{\"query\":\"c\"}],";
    let request = Asked::new(&[("baggage", b"c=d")]);
    let _ = decide(&table(2, names), &request);
    assert_eq!(*request.asked.borrow(), [forged, "baggage", ":path"]);
    let off = table(2, "\"enabled\":false,");
    let request = Asked::new(&[("baggage", b"sandbox=pr-1")]);
    assert_eq!(decide(&off, &request).reason, Reason::Disabled);
    assert_eq!(*request.asked.borrow(), [forged]);
}

#[test]
fn without_a_sandbox_the_plan_is_empty() {
    for dispatch in ["cluster-header", "authority", "header"] {
        let fields = format!("\"dispatch\":\"{dispatch}\",");
        for (table, baggage) in [
            (table(0, &fields), &b"sandbox=pr-1"[..]),
            (table(2, &fields), b"sandbox=pr-2"),
            (table(2, &fields), b"\xff=\xfe,%"),
            (table(2, &format!("\"enabled\":false,{fields}")), b"sandbox=pr-1"),
        ] {
            let request = Asked::new(&[("baggage", baggage)]);
            assert_eq!(decide(&table, &request).effect(), Effect::default(), "{dispatch}");
        }
    }
}

#[test]
fn the_explanation_says_what_decided() {
    let table = table(2, "\"generation\":\"0123456789ab\",");
    let explain = |headers: &[(&'static str, &'static [u8])]| {
        Explanation(&decide(&table, &Asked::new(headers))).to_string()
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
fn a_cluster_of_odd_bytes_is_no_service() {
    let cluster = "outbound|80||ca\0:.shop.svc.cluster.local";
    let request = Asked { cluster, ..Asked::new(&[("baggage", b"sandbox=pr-1")]) };
    let table = table(2, "");
    assert_eq!(decide(&table, &request).reason, Reason::ForeignDestination);
}

#[test]
fn only_who_may_ask_is_answered() {
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
fn labels_and_texts_are_all_different() {
    let reasons = || Reason::OUTCOMES.into_iter().chain(Reason::DROPS);
    for words in [Reason::label, Reason::text] {
        let mut words: Vec<_> = reasons().map(words).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), reasons().count());
    }
}
