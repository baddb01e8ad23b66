//! Law 2: parsing of baggage is exact.

use proptest::{
    prelude::*,
    sample::{Index, select},
    strategy::ValueTree as _,
    test_runner::TestRunner,
};
use skycap_core::{baggage, reason::Reason};

pub(super) const NAME: &str = "sandbox";

/// A key, or why there is none. `Err(None)` means that there is no member of the name.
pub(super) type Outcome = Result<String, Option<Reason>>;

pub(super) fn find(list: &[u8]) -> Outcome {
    baggage::find(list, NAME).into_result().map(|key| key.to_string())
}

/// A second implementation of [`find`], which follows the W3C grammar and ignores cost:
///
/// ```text
/// list-member   = key OWS "=" OWS value *( OWS ";" OWS property )
/// key           = token
/// value         = *baggage-octet
/// baggage-octet = %x21 / %x23-2B / %x2D-3A / %x3C-5B / %x5D-7E
/// ```
///
/// It adds two rules: the last well-formed member of a name wins (OpenTelemetry), and values are
/// percent-decoded.
fn reference(list: &[u8]) -> Outcome {
    let text: String = list.iter().map(|byte| char::from(*byte)).collect();
    let ows = |c: char| c == ' ' || c == '\t';
    let octet = |c: char| ('\x21'..='\x7e').contains(&c) && !"\",;\\".contains(c);
    let (mut last, mut malformed) = (None, false);
    for member in text.split(',') {
        let pair = member.split(';').next().unwrap_or_default();
        let (key, value) = pair.split_once('=').map_or((pair, None), |(k, v)| (k, Some(v)));
        if key.trim_matches(ows) != NAME {
            continue;
        }
        let value = value.map(|value| value.trim_matches(ows));
        match value.filter(|value| value.chars().all(octet)).and_then(decode) {
            Some(value) => last = Some(value),
            None => malformed = true,
        }
    }
    let is_key = |value: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._~-".contains(c);
        (1..=64).contains(&value.len()) && value.chars().all(plain)
    };
    // Python's SDK encodes properties into the value.
    let last = last.map(|value| value.split(';').next().unwrap_or_default().to_owned());
    match last {
        Some(value) if is_key(&value) => Ok(value),
        Some(_) => Err(Some(Reason::InvalidKey)),
        None => Err(malformed.then_some(Reason::MalformedMember)),
    }
}

/// Decodes each `%XX`. Returns `None` if a percent sign is not followed by two digits.
fn decode(value: &str) -> Option<String> {
    let mut rest = value;
    let mut decoded = String::new();
    while let Some((before, behind)) = rest.split_once('%') {
        decoded.push_str(before);
        let digits =
            behind.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        decoded.push(char::from(u8::from_str_radix(digits, 16).ok()?));
        rest = &behind[2..];
    }
    decoded.push_str(rest);
    Some(decoded)
}

/// A list with fewer than 64 members and far fewer than 8,192 bytes.
pub(super) fn list() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => proptest::collection::vec(member(), 0..10).prop_map(|members| members.join(&b',')),
        1 => proptest::collection::vec(piece(), 0..40).prop_map(|pieces| pieces.concat()),
    ]
}

/// A member whose name is often [`NAME`] or similar, and whose value is often a key or similar.
fn member() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        8 => select(VALUES).prop_map(|value| value.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 1..4),
        1 => (62_usize..67).prop_map(|length| vec![b'a'; length]),
    ];
    (select(NAMES), select(EQUALS), value, select(PROPERTIES)).prop_map(
        |(name, equals, value, properties)| {
            [name.as_bytes(), equals.as_bytes(), &value, properties.as_bytes()].concat()
        },
    )
}

/// A piece of a list that may be cut at any byte.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    const WORDS: &[&str] = &[
        NAME,
        "sandbox=",
        "my-sandbox",
        "=",
        ",",
        ",",
        ";",
        " ",
        "\t",
        "%",
        "%2D",
        "%zz",
        "pr-1",
        "pr-12",
        "\"",
        "\\",
    ];
    prop_oneof![
        8 => select(WORDS).prop_map(|word| word.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ]
}

/// Text before and after a line.
const GAPS: &[(&str, &str)] =
    &[("", ""), (" ", ""), ("", "\t"), (" \t", " "), (",", ""), (" , ", ""), ("\t,", " ,")];

/// A member of another name, as a correct service writes it.
const FOREIGN: &[&str] = &[
    "a=b",
    "userId=alice",
    "my-sandbox=pr-2",
    "sandbox2=pr-2",
    "sandbox.x = pr-2",
    "x\t= %20%2C;p",
    "serverNode=DF%2028;ttl=1;state=on",
    "isProduction=false",
    "san=dbox",
    "k=sandbox",
    "b=",
];

/// The other properties of this file would show little if most lists had no member of the name.
#[test]
fn every_outcome_is_frequent_among_the_lists() {
    let mut runner = TestRunner::deterministic();
    let mut sample = || list().new_tree(&mut runner).expect("a list").current();
    let outcomes: Vec<Outcome> = (0..1_000).map(|_| reference(&sample())).collect();
    let count = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|o| wanted(o)).count();
    assert!(count(Result::is_ok) > 200);
    assert!(count(|outcome| *outcome == Err(None)) > 100);
    assert!(count(|outcome| *outcome == Err(Some(Reason::InvalidKey))) > 100);
    assert!(count(|outcome| *outcome == Err(Some(Reason::MalformedMember))) > 50);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_list_is_read_as_the_reference_reads_it(list in list()) {
        prop_assert_eq!(find(&list), reference(&list));
    }

    #[test]
    fn a_member_between_arbitrary_bytes_is_read(
        before in proptest::collection::vec(any::<u8>(), 0..100),
        after in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        prop_assert_eq!(find(&before), reference(&before));
        let list = [&before[..], b",sandbox=pr-1,", &after].concat();
        prop_assert_eq!(find(&list), Ok("pr-1".to_owned()));
    }

    #[test]
    fn members_of_other_names_change_nothing(
        list in list(),
        others in proptest::collection::vec((any::<Index>(), select(FOREIGN)), 1..8),
    ) {
        let mut members: Vec<&[u8]> = list.split(|byte| *byte == b',').collect();
        for (index, other) in others {
            members.insert(index.index(members.len() + 1), other.as_bytes());
        }
        prop_assert_eq!(find(&members.join(&b',')), find(&list));
    }

    /// Envoy joins several lines by `,`, so a list that is split into lines at its commas is the
    /// same list. Neither empty lines nor white space around a line change it.
    #[test]
    fn a_split_into_lines_changes_nothing(
        list in list(),
        gaps in proptest::collection::vec(select(GAPS), 41),
    ) {
        let members = list.split(|byte| *byte == b',').zip(&gaps);
        let lines = members.map(|(member, (before, after))| {
            [before.as_bytes(), member, after.as_bytes()].concat()
        });
        prop_assert_eq!(find(&lines.collect::<Vec<_>>().join(&b',')), find(&list));
    }
}

const NAMES: &[&str] = &[
    NAME,
    NAME,
    NAME,
    NAME,
    " sandbox",
    "sandbox\t",
    " \tsandbox ",
    "my-sandbox",
    // `-` and `,` differ only in their lowest bit, so a search for commas may confuse them.
    "-sandbox",
    "sandbox2",
    "Sandbox",
    "%73andbox",
    "sand box",
    "a",
    "",
];
const EQUALS: &[&str] = &["=", "=", "=", "=", "= ", "=\t", "", "=="];
const VALUES: &[&str] = &[
    "pr-1",
    "pr-12",
    "Pr.1_~",
    "pr%2D1",
    "%70r%2d1",
    "pr-1 ",
    "pr-1\t ",
    "",
    "%zz",
    "%",
    "%2",
    "p%2Fr",
    "p%C3%A9",
    "pr-1%3Bttl%3D1",
    "pr-1%3b",
    "%3Bpr-1",
    "pr-1+%3Bp",
    "a b",
    "\"",
    "\\",
    "p/r",
    "pr-1=x",
];
const PROPERTIES: &[&str] =
    &["", "", "", ";p", " ; p=v;q", ";%zz", ";\"", "; sandbox=no", ";sandbox=no;p"];
