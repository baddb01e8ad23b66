//! The text of a comment: whatever a summary says, the comment has the same structure, says it in
//! code spans alone, and has room on GitHub.

use std::collections::BTreeMap;

use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use skycap::environment::{
    comment::{Marker, Tests, closed, open},
    summary::{Fork, Replacement, Served, Summary},
};

/// A text that tries to be something else.
fn hostile() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PARTS), 1..9).prop_map(|parts| parts.concat())
}

/// A summary of these texts, which are never empty.
fn summary(texts: &[String; 10], ready: bool) -> Summary {
    let text = |index: usize| texts[index].clone();
    Summary {
        sandbox: text(0),
        namespace: text(1),
        key: text(2),
        expires: None,
        baggage: text(3),
        curl: format!("curl {}", text(4)),
        forks: vec![Fork {
            workload: text(5),
            name: text(6),
            images: BTreeMap::from([(text(7), text(8))]),
            ready,
            reason: Some(text(9)),
        }],
        services: vec![Replacement { service: text(5), to: text(6) }],
        queues: Vec::new(),
        notes: vec![text(7), text(8)],
        served: Some(Served { sidecars: 12, up_to_date: 11 }),
        error: Some(text(9)),
    }
}

/// What the page shows: the events of the parser without what is quoted, and the quoted texts.
fn rendered(comment: &str) -> (Vec<String>, Vec<String>) {
    let (mut structure, mut quoted, mut in_block) = (Vec::new(), Vec::new(), false);
    for event in Parser::new_ext(comment, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH) {
        match event {
            Event::Code(text) => quoted.push(text.into_string()),
            Event::Text(text) if in_block => quoted.push(text.into_string()),
            // The line with the marker: its text differs, and a browser must see one HTML comment.
            Event::Html(html) => structure.push(format!("{} comment", html.matches("-->").count())),
            event => {
                in_block = match event {
                    Event::Start(Tag::CodeBlock(_)) => true,
                    Event::End(TagEnd::CodeBlock) => false,
                    _ => in_block,
                };
                structure.push(format!("{event:?}"));
            }
        }
    }
    (structure, quoted)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn a_text_in_a_comment_is_nothing_but_text(
        texts in prop::array::uniform10(hostile()),
        ready: bool,
    ) {
        let (hostile, plain) = (summary(&texts, ready), texts.clone().map(|_| "x".to_owned()));
        let comment = open(&hostile, Some(Tests::Passed));
        let (structure, quoted) = rendered(&comment);
        let (expected, places) = rendered(&open(&summary(&plain, ready), Some(Tests::Passed)));
        prop_assert_eq!(structure, expected, "{}", comment);
        prop_assert_eq!(quoted.len(), places.len(), "{}", comment);
        // What can be printed is shown as it is.
        for text in &texts {
            let is_plain = !text.contains(|c: char| c == '|' || c.is_control() || c == '\u{202e}');
            let is_shown = quoted.iter().any(|quoted| quoted.contains(text.as_str()));
            prop_assert!(is_shown || !is_plain, "{:?} is not among {:?}", text, quoted);
        }
        prop_assert!(comment.lines().all(|line| !line.starts_with('/')), "{}", comment);
    }

    #[test]
    fn a_comment_is_found_by_its_marker(texts in prop::array::uniform10(hostile())) {
        let summary = summary(&texts, true);
        let (marker, comment) = (Marker::of(&summary), open(&summary, None));
        let edited_on_the_page = comment.replace('\n', "\r\n");
        for comment in [&comment, &edited_on_the_page, &closed(&marker)] {
            prop_assert_eq!(Marker::read(comment), Some(marker.clone()));
        }
        let is_elsewhere = Marker::read(&format!("> {comment}")).is_none();
        prop_assert!(is_elsewhere, "a quoted comment is not the comment");
    }
}

/// The README of `deploy/ci` shows a comment as it is.
#[test]
fn the_readme_shows_a_comment() -> anyhow::Result<()> {
    let summary: Summary = serde_json::from_str(SUMMARY)?;
    let comment = open(&summary, Some(Tests::Passed));
    let quoted: Vec<_> =
        comment.lines().skip(1).map(|line| format!("> {line}").trim_end().to_owned()).collect();
    let readme = include_str!("../../deploy/ci/README.md");
    let quoted = quoted.join("\n");
    assert!(readme.contains(quoted.trim_end_matches(['>', '\n'])), "{quoted}");
    Ok(())
}

/// GitHub refuses more than 65,536 characters, and a name may be long.
#[test]
fn a_comment_has_room_for_a_sandbox_of_any_size() {
    let long = || "`|ä".repeat(500);
    let texts: [String; 10] = std::array::from_fn(|_| long());
    let mut summary = summary(&texts, false);
    summary.forks = vec![summary.forks[0].clone(); 200];
    summary.services = vec![summary.services[0].clone(); 256];
    summary.notes = vec![long(); 300];
    let comment = open(&summary, Some(Tests::Failed));
    assert!(comment.chars().count() <= 65_536, "{} characters", comment.chars().count());
    assert!(comment.contains("… and 2"), "the rest is counted: {comment}");
}

#[test]
fn the_heading_tells_how_it_is() {
    let texts: [String; 10] = std::array::from_fn(|_| "x".to_owned());
    let served = |up_to_date| Some(Served { sidecars: 2, up_to_date });
    for (error, ready, served, heading) in [
        (None, true, served(2), "ready"),
        (None, true, None, "ready"),
        (None, true, served(1), "not ready yet"),
        (None, false, None, "not ready yet"),
        (Some("image".to_owned()), false, None, "failed"),
    ] {
        let summary = Summary { error, served, ..summary(&texts, ready) };
        let comment = open(&summary, None);
        let wanted = format!("### Sandbox `x`: {heading}");
        assert_eq!(comment.lines().nth(1), Some(wanted.as_str()), "{comment}");
    }
}

/// What means something in Markdown, in HTML or to a terminal.
const PARTS: &[&str] = &[
    "`",
    "```",
    "|",
    "\\",
    "\n",
    "\r\n",
    "-->",
    "<!--",
    "</code>",
    "<script>",
    "@owner",
    "#1",
    "](http://x)",
    "![",
    "* ",
    "_",
    "~~",
    "&#124;",
    "$",
    "\n/merge",
    "\u{202e}",
    "\t",
    " ",
    "a",
    "\n\n# x",
    "\n```\n",
    "|---|",
    "ä",
];

/// What `skycap up -o json` prints.
const SUMMARY: &str = r#"{
    "sandbox": "pr-9",
    "namespace": "shop",
    "key": "pr-9",
    "expires": "2026-12-02T15:00:00Z",
    "baggage": "sandbox=pr-9",
    "curl": "curl -H 'baggage: sandbox=pr-9' http://cart.shop/",
    "forks": [{
        "workload": "deployment/cart",
        "name": "cart-pr-9",
        "images": {"cart": "registry.example.com/cart:4f5e6d7"},
        "ready": true
    }],
    "services": [{"service": "cart", "to": "cart-pr-9"}],
    "notes": [],
    "served": {"sidecars": 12, "upToDate": 12}
}"#;
