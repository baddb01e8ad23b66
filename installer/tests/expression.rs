//! The regular expression for a key agrees with the filter's parser.

use std::sync::LazyLock;

use proptest::prelude::*;
use regex::Regex;
use skycap::desired::gateway_api::expression::MemberExpression;
use skycap_core::{baggage, key::RoutingKey};

const NAME: &str = "sandbox";
const KEY: &str = "pr-1";

/// A part of a list: the name and similar names, delimiters, keys and similar values.
fn token() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        NAME, NAME, NAME, "sandbo", "sandbox2", "Sandbox", "s", "=", "=", "=", "=", ",", ",", ",",
        ";", " ", "\t", "%", "%2D", "%2d", "%70r-1", "%7", "%zz", KEY, KEY, KEY, "pr-12", "key",
        "\"", "\\", "",
    ];
    prop_oneof![
        9 => proptest::sample::select(WORDS).prop_map(str::to_owned),
        1 => proptest::char::range('\0', '\x7f').prop_map(String::from),
    ]
}

/// A member that is well-formed or nearly so, so that lists often have several with the name.
fn member() -> impl Strategy<Value = String> {
    let name = proptest::sample::select(&["sandbox", "sandbox", "xsandbox", "sandbo", ""][..]);
    let value = proptest::sample::select(
        &["pr-1", "pr-1", "%70r%2d1", "pr-2", "", "a b", "%", "\"", " pr-1 ", "=", "pr-1\x7f"][..],
    );
    let rest = proptest::sample::select(&["", "", ";p", " ; p=1;q", ";", " "][..]);
    let equals = proptest::sample::select(&["=", "=", " = ", "", "\t="][..]);
    (name, equals, value, rest).prop_map(|(a, b, c, d)| [a, b, c, d].concat())
}

fn list() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::collection::vec(token(), 0..24).prop_map(|tokens| tokens.concat()),
        proptest::collection::vec(member(), 0..5).prop_map(|members| members.join(",")),
    ]
}

#[expect(clippy::expect_used, reason = "an invalid expression must fail the test")]
static EXPRESSIONS: LazyLock<[(&str, Regex); 3]> = LazyLock::new(|| {
    let member = MemberExpression::new(NAME);
    [KEY, "pr-2", "key"].map(|text| (text, Regex::new(&member.for_key(&key(text))).expect("valid")))
});

#[expect(clippy::expect_used, reason = "the tests pass only valid keys")]
fn key(text: &str) -> RoutingKey {
    text.parse().expect("a key")
}

/// Whether the expression matches as on Linkerd: the leftmost-first match must span the line.
fn spans(expression: &Regex, line: &str) -> bool {
    expression.find(line).is_some_and(|found| found.range() == (0..line.len()))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(8_000) })]

    #[test]
    fn the_expression_matches_what_the_parser_finds(line in list()) {
        let found = baggage::find(line.as_bytes(), NAME).into_result();
        for (text, expression) in EXPRESSIONS.iter() {
            prop_assert_eq!(spans(expression, &line), found == Ok(key(text)), "{:?} for {}", line, text);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn every_name_and_every_key_is_supported(
        name in "[!#$%&'*+.^_`|~0-9A-Za-z-]{2,20}",
        text in "[A-Za-z0-9._~-]{1,64}",
        other in "[A-Za-z0-9._~-]{1,64}",
    ) {
        let expression = MemberExpression::new(&name).for_key(&key(&text));
        prop_assert!(expression.len() < 4_096, "{} characters", expression.len());
        let expression = Regex::new(&expression).expect("valid");
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let found = [
            format!("a=b , {name} = {text};p=q,c=d"),
            format!("{name}={encoded}"),
            format!("x{name}={text}"),
            format!("{name}={text},{name}={other}"),
        ]
        .map(|line| spans(&expression, &line));
        prop_assert_eq!(found, [true, true, false, text == other]);
    }
}
