//! skycap and the OpenTelemetry SDK for Rust read the same key from a list, except where the SDK
//! deviates from the W3C grammar.
//!
//! Native only: proptest needs a source of random numbers.
#![cfg(not(target_arch = "wasm32"))]

use std::{cell::Cell, collections::HashMap};

use opentelemetry::{baggage::BaggageExt as _, propagation::TextMapPropagator as _};
use opentelemetry_sdk::propagation::BaggagePropagator;
use proptest::{
    prelude::*,
    sample::select,
    test_runner::{TestError, TestRunner},
};
use skycap_core::{baggage, key::RoutingKey};

const NAME: &str = "sandbox";

/// The routing key that an application with the SDK (0.33) reads.
fn sdk(list: &str) -> Option<String> {
    let carrier = HashMap::from([("baggage".to_owned(), list.to_owned())]);
    let context = BaggagePropagator::new().extract(&carrier);
    let value = context.baggage().get(NAME).map(ToString::to_string)?;
    value.parse::<RoutingKey>().is_ok().then_some(value)
}

fn skycap(list: &str) -> Option<String> {
    baggage::find(list.as_bytes(), NAME).into_result().ok().map(|key| key.to_string())
}

/// A deviation of the SDK from the W3C grammar and from law 2, with a list that shows it.
struct Exception {
    about: &'static str,
    applies: fn(&str) -> bool,
    shown_by: &'static str,
}

const EXCEPTIONS: &[Exception] = &[
    Exception {
        about: "the SDK splits a member at every `=`, and uses the second part as the value",
        applies: |list| members(list).any(|member| member.matches('=').count() > 1),
        shown_by: "sandbox=pr-1=x",
    },
    Exception {
        about: "the SDK percent-decodes names",
        applies: |list| members(list).any(|member| name(member).contains('%')),
        shown_by: "%73andbox=pr-1",
    },
    Exception {
        about: "the SDK accepts a `%` without two hexadecimal digits, so that member wins over an \
                earlier one",
        applies: |list| members(list).any(has_broken_percent),
        shown_by: "sandbox=pr-1,sandbox=%zz",
    },
    Exception {
        about: "the SDK ignores a value that is not UTF-8, so an earlier member wins",
        applies: |list| members(list).any(is_not_utf8),
        shown_by: "sandbox=pr-1,sandbox=%ff",
    },
    Exception {
        about: "the SDK accepts values with bytes outside the grammar, so that member wins over an \
                earlier one",
        applies: |list| {
            members(list).any(|member| {
                value(member)
                    .bytes()
                    .any(|byte| !byte.is_ascii_graphic() || b"\"\\".contains(&byte))
            })
        },
        shown_by: "sandbox=pr-1,sandbox=\"",
    },
    Exception {
        about: "the SDK trims all white space, not only spaces and tabs",
        applies: |list| list.chars().any(|c| c.is_whitespace() && c != ' ' && c != '\t'),
        shown_by: "sandbox\u{a0}=pr-1",
    },
    Exception {
        about: "the SDK reads only the first 64 members",
        applies: |list| list.split(',').count() > 64,
        shown_by: "a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,\
                   a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,sandbox=pr-1",
    },
];

/// The members of a list, without their properties.
fn members(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(|member| member.split(';').next().unwrap_or_default())
}

fn name(member: &str) -> &str {
    member.split('=').next().unwrap_or_default()
}

fn value(member: &str) -> &str {
    member.split_once('=').map_or("", |(_, value)| value.trim())
}

fn has_broken_percent(member: &str) -> bool {
    value(member).split('%').skip(1).any(|part| hex_byte(part).is_none())
}

fn is_not_utf8(member: &str) -> bool {
    let mut parts = value(member).split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let decoded = hex_byte(part);
        bytes.extend(decoded.or(Some(b'%')));
        bytes.extend(part.bytes().skip(if decoded.is_some() { 2 } else { 0 }));
    }
    String::from_utf8(bytes).is_err()
}

/// The byte that the two hexadecimal digits at the start of `text` encode.
fn hex_byte(text: &str) -> Option<u8> {
    let digits = text.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

#[test]
fn each_exception_is_still_needed() {
    for Exception { about, applies, shown_by } in EXCEPTIONS {
        assert!(applies(shown_by), "`{shown_by}` is not an example of: {about}");
        assert_ne!(sdk(shown_by), skycap(shown_by), "no longer true: {about}");
    }
}

/// Lists of which about half have an [`EXCEPTIONS`].
fn list() -> impl Strategy<Value = String> {
    let name =
        select(&["sandbox", "sandbox", " sandbox", "sandbox\t", "sandbox2", "my-sandbox", "a"][..]);
    let value = prop_oneof![
        30 => select(&["pr-1", "pr-12", " pr-1 ", "p%2D1", "%70r-1", "p%2Fr", "", "p/r", "%C3%A9"][..])
            .prop_map(str::to_owned),
        1 => select(&["%zz", "%", "%ff", "a b", "\"q\"", "pr-1=x"][..]).prop_map(str::to_owned),
        1 => "[!-~]{0,6}",
    ];
    let equals = select(&["=", "=", "=", "=", "=", "=", "=", "=\t", " =", ""][..]);
    let properties = select(&["", "", ";", ";p", " ;p=v;q", ";%zz", ";p==", "; sandbox=no"][..]);
    let member = (name, equals, value, properties)
        .prop_map(|(name, equals, value, properties)| [name, equals, &value, properties].concat());
    proptest::collection::vec(member, 0..6).prop_map(|members| members.join(","))
}

#[test]
fn both_find_the_same_key() -> Result<(), TestError<String>> {
    let (compared, found) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(ProptestConfig::with_cases(2_000));
    let result = runner.run(&list(), |list| {
        if !EXCEPTIONS.iter().any(|exception| (exception.applies)(&list)) {
            prop_assert_eq!(sdk(&list), skycap(&list), "`{}`", list);
            compared.set(compared.get() + 1);
            found.set(found.get() + u32::from(skycap(&list).is_some()));
        }
        Ok(())
    });
    // Otherwise the lists above would show too little.
    assert!(
        result.is_err() || (compared.get() > 1_000 && found.get() > 500),
        "{compared:?} {found:?}"
    );
    result
}
