//! The requests that cost most: each of them beside the same request without a filter.

use std::path::Path;

use super::{
    Variant,
    config::{direct, hosts, wasm},
};

/// 8 KB of commas in baggage, 16 carriers that are all full, and 500 cookies.
pub(super) fn worst_variants(module: &Path) -> Vec<Variant> {
    let full = HEADERS.map(|name| (name, "v".repeat(2_048)));
    let carriers: Vec<_> =
        HEADERS.iter().map(|name| format!("{{\"header\":\"{name}\"}}")).collect();
    let cookies: Vec<_> = (0..500).map(|n| format!("cookie-{n}=value-{n}")).collect();
    [
        ("8 KB of commas", r#"{"baggage":"sandbox"}"#.to_owned(), vec![("baggage", ",".repeat(8_192))]),
        ("16 carriers of 2 KB", carriers.join(","), full.into()),
        ("500 cookies", r#"{"cookie":"sandbox"}"#.into(), vec![("cookie", cookies.join("; "))]),
    ]
    .into_iter()
    .flat_map(|(what, carriers, headers)| {
        let table = format!(
            "{{\"version\":\"1.0\",\"carriers\":[{carriers}],\"routes\":[{{\"service\":\"cart.shop\",\
             \"to\":\"cart-{{key}}\"}}],\"keys\":\"pr-1:0\"}}"
        );
        [("no filter", None), ("skycap", Some(wasm(module, &table)))].map(|(name, filter)| Variant {
            name: format!("{name}, {what}"),
            envoy: format!("{}-{what}", if filter.is_some() { "worst" } else { "none" }),
            filter,
            virtual_hosts: hosts(None, vec![direct("/direct")]),
            matcher: None,
            path: "/direct",
            headers: headers.clone(),
        })
    })
    .collect()
}

const HEADERS: [&str; 16] = [
    "x-a", "x-b", "x-c", "x-d", "x-e", "x-f", "x-g", "x-h", "x-i", "x-j", "x-k", "x-l", "x-m",
    "x-n", "x-o", "x-p",
];
