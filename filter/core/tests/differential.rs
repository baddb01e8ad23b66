//! skycap beside the OpenTelemetry SDK for Rust: the same member, or a named reason why not.
//! Native only: proptest wants a seed.
#![cfg(not(target_arch = "wasm32"))]

use std::collections::HashMap;

use opentelemetry::{baggage::BaggageExt as _, propagation::TextMapPropagator as _};
use opentelemetry_sdk::propagation::BaggagePropagator;
use proptest::prelude::*;
use skycap_core::{baggage, key::RoutingKey};

const NAME: &str = "sandbox";

/// The routing key that an application with the SDK (0.33) sees.
fn sdk(list: &str) -> Option<String> {
    let carrier = HashMap::from([("baggage".to_owned(), list.to_owned())]);
    let context = BaggagePropagator::new().extract(&carrier);
    let value = context.baggage().get(NAME).map(ToString::to_string)?;
    value.parse::<RoutingKey>().is_ok().then_some(value)
}

fn skycap(list: &str) -> Option<String> {
    baggage::find(list.as_bytes(), NAME).into_result().ok().map(|key| key.to_string())
}

/// Where the SDK reads otherwise than the W3C and skycap's law, each with an input that shows it.
struct Exception {
    about: &'static str,
    applies: fn(&str) -> bool,
    shown_by: &'static str,
}

const EXCEPTIONS: &[Exception] = &[
    Exception {
        about: "it splits at every `=` and takes the second piece for the value",
        applies: |list| members(list).any(|member| member.matches('=').count() > 1),
        shown_by: "sandbox=pr-1=x",
    },
    Exception {
        about: "it percent-decodes names",
        applies: |list| members(list).any(|member| name(member).contains('%')),
        shown_by: "%73andbox=pr-1",
    },
    Exception {
        about: "it keeps a broken percent sign, and drops what is no UTF-8: either way the member \
                takes the place of an earlier one, or leaves it there, against the law",
        applies: |list| list.contains('%'),
        shown_by: "sandbox=pr-1,sandbox=%zz",
    },
    Exception {
        about: "it keeps values with bytes outside the grammar, which then win over earlier ones",
        applies: |list| {
            members(list).any(|member| {
                let value = member.split_once('=').map_or("", |(_, value)| value.trim());
                value.bytes().any(|byte| !byte.is_ascii_graphic() || b"\"\\".contains(&byte))
            })
        },
        shown_by: "sandbox=pr-1,sandbox=\"",
    },
    Exception {
        about: "it trims every white space, not spaces and tabs alone",
        applies: |list| list.chars().any(|c| c.is_whitespace() && c != ' ' && c != '\t'),
        shown_by: "sandbox\u{a0}=pr-1",
    },
    Exception {
        about: "it reads the first 64 members",
        applies: |list| list.split(',').count() > 64,
        shown_by: "a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,\
                   a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,sandbox=pr-1",
    },
];

fn members(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(|member| member.split(';').next().unwrap_or_default())
}

fn name(member: &str) -> &str {
    member.split('=').next().unwrap_or_default()
}

#[test]
fn each_exception_is_still_needed() {
    for Exception { about, applies, shown_by } in EXCEPTIONS {
        assert!(applies(shown_by), "`{shown_by}` is not of the kind: {about}");
        assert_ne!(sdk(shown_by), skycap(shown_by), "the SDK has mended it: {about}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn both_find_the_same_key(
        members in proptest::collection::vec(
            (
                "[ \t]{0,1}(sandbox|sandbox2|my-sandbox|a|%73andbox)[ \t]{0,1}",
                "(=|=|=|==|)",
                "[ \t]{0,1}(pr-1|pr-12|p%2D1|%zz|a b|\"q\"|[!-~]{0,6}|)[ \t]{0,1}",
                "(;[a-z=%]{0,5}){0,2}",
            ),
            0..8,
        ),
    ) {
        let members = members.into_iter().map(|(name, equals, value, rest)| name + &equals + &value + &rest);
        let list = members.collect::<Vec<_>>().join(",");
        if !EXCEPTIONS.iter().any(|exception| (exception.applies)(&list)) {
            prop_assert_eq!(sdk(&list), skycap(&list), "`{}`", list);
        }
    }
}
