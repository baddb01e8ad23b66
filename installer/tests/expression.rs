//! The regular expression of a key says what the filter's parser says.

use std::sync::LazyLock;

use proptest::prelude::*;
use regex::Regex;
use skycap::desired::gateway_api::expression::MemberExpression;
use skycap_core::{baggage, key::RoutingKey};

const NAME: &str = "sandbox";
const KEY: &str = "pr-1";

/// A piece of a list: the name and its near misses, marks of the grammar, keys and what is none.
fn piece() -> impl Strategy<Value = String> {
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

/// Members that are nearly or wholly right, so that two of the name often meet.
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
        proptest::collection::vec(piece(), 0..24).prop_map(|pieces| pieces.concat()),
        proptest::collection::vec(member(), 0..5).prop_map(|members| members.join(",")),
    ]
}

#[expect(clippy::expect_used, reason = "an expression that is none is what is looked for")]
static EXPRESSIONS: LazyLock<[(&str, Regex); 3]> = LazyLock::new(|| {
    let member = MemberExpression::new(NAME);
    [KEY, "pr-2", "key"].map(|text| (text, Regex::new(&member.of(&key(text))).expect("valid")))
});

#[expect(clippy::expect_used, reason = "the test writes them")]
fn key(text: &str) -> RoutingKey {
    text.parse().expect("a key")
}

/// As Linkerd matches: the leftmost-first match, which must span the line.
fn spans(expression: &Regex, line: &str) -> bool {
    expression.find(line).is_some_and(|found| found.range() == (0..line.len()))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(8_000) })]

    #[test]
    fn it_says_what_the_parser_says(line in list()) {
        let found = baggage::find(line.as_bytes(), NAME).into_result();
        for (text, expression) in EXPRESSIONS.iter() {
            prop_assert_eq!(spans(expression, &line), found == Ok(key(text)), "{:?} for {}", line, text);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn any_name_and_any_key_will_do(
        name in "[!#$%&'*+.^_`|~0-9A-Za-z-]{2,20}",
        text in "[A-Za-z0-9._~-]{1,64}",
        other in "[A-Za-z0-9._~-]{1,64}",
    ) {
        let expression = MemberExpression::new(&name).of(&key(&text));
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
