//! Attacks on whoever reads the report: its size, and what it prints.

use proptest::prelude::*;
use serde_json::json;
use skycap::{
    objects::ObjectRef,
    problem::{Problem, QUOTED_BYTES, TEXT_BYTES},
    table::limits::NAMESPACE_WARNINGS,
};

use super::{compiled, fragment, problems_of, settings};

#[test]
fn one_fragment_has_one_problem_for_all_its_unknown_members() {
    let members: Vec<_> = (0..64).map(|n| format!("nobody-{n}")).collect();
    let data = json!({"members": members.join(", ")});
    let compilation = compiled(&[fragment("group", "shop", "release", 0, &data)]);
    let problems = problems_of(&compilation, "shop", "release");
    assert!(
        matches!(problems[..], [problem] if problem.text.contains("and 61 more")),
        "{problems:?}"
    );
}

#[test]
fn the_problems_of_a_namespace_are_bounded() {
    let routes: String = (0..256).map(|n| format!("s{n}: t{n}\n")).collect();
    let mut objects: Vec<_> = (0..20)
        .map(|n| fragment("sandbox", "evil", &format!("e{n}"), 0, &json!({"routes": routes})))
        .collect();
    objects.push(fragment("sandbox", "shop", "pr-1", 0, &json!({"routes": "cart: cart-pr-1"})));
    objects.push(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}}));
    let report = compiled(&objects).report;
    // 10,240 for `evil`, two for `shop`.
    assert_eq!(report.problems.len(), NAMESPACE_WARNINGS + 1 + 2, "{}", report.problems.len());
    let short = report.shorten(8 << 10);
    let json = serde_json::to_string(&short).expect("JSON");
    assert!(json.len() < 9 << 10, "{}", json.len());
    let shop = ObjectRef::config_map("shop", "pr-1");
    let has_shop = |problem: &Problem| problem.object.as_deref() == Some(&shop);
    assert!(short.problems.iter().any(has_shop), "the problems of others are displaced");
    assert_eq!(short.problems.len() + short.omitted_problems, report.problems.len());
}

proptest! {
    /// Escape sequences in a `ttl` once reached the terminal of whoever ran `status`, and a `ttl` of a
    /// megabyte kept the status from being written.
    #[test]
    fn nothing_unprintable_or_long_reaches_a_report(
        value in "\\PC{0,300}|[\u{0}-\u{ff}\u{202a}-\u{202e}`]{0,2000}",
        name in "[a-z]{1,9}|[\u{1}-\u{ff}]{0,300}",
        field in prop::sample::select(vec!["ttl", "expires", "key", "enabled", "extends", "onUnavailable", "routes", "new"]),
        kind in prop::sample::select(vec!["sandbox", "group", "settings"]),
    ) {
        let objects = [
            fragment(kind, "shop", &name, 0, &json!({field: value})),
            fragment("sandbox", "shop", "pr-1", 0, &json!({"routes": {"a": value}})),
            fragment("sandbox", "shop", "pr-2", 0, &json!({"routes": format!("? {value:?}\n: {value:?}")})),
            settings(&json!({field: value})),
        ];
        let report = compiled(&objects).report;
        // The table paints its states; nothing else is an escape sequence.
        let table = anstream::adapter::strip_str(&report.table()).to_string();
        let unprintable = |c: char| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
        prop_assert!(!table.contains(unprintable), "{:?}", table);
        let painted = report.table().replace("\u{1b}[3", "").replace("\u{1b}[0m", "");
        prop_assert!(!painted.contains('\u{1b}'), "an escape sequence that is not a colour");
        for problem in &report.problems {
            prop_assert!(!problem.to_string().contains(|c: char| c.is_control()), "{problem:?}");
            prop_assert!(problem.text.len() <= TEXT_BYTES + 16, "{} bytes", problem.text.len());
            for quoted in problem.text.split('`').skip(1).step_by(2) {
                prop_assert!(quoted.len() <= QUOTED_BYTES * 8, "{quoted}");
            }
        }
    }
}
