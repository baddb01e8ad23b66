//! The 88 baggage vectors of the W3C and of eight OpenTelemetry SDKs, and how skycap reads them.
//!
//! A row contains the number of the vector, its source, the lines of input, and the result for each
//! name. Most vectors have values that are not routing keys. Then the expected result is `NoKey`,
//! which also shows that the member was found. If the result differs from that of the source, the
//! row states why.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use skycap_core::{baggage, key::RoutingKey, reason::Reason};

/// What skycap finds for a name.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    /// No member has the name.
    Absent,
    /// A member has the name and this key.
    Key(&'static str),
    /// Every member of the name is malformed.
    Malformed,
    /// The value of the member is not a routing key.
    NoKey,
    /// The list exceeds the limit.
    TooLong,
}
use Outcome::{Absent, Key, Malformed, NoKey, TooLong};

struct Vector {
    number: u8,
    source: &'static str,
    lines: &'static [&'static str],
    expected: &'static [(&'static str, Outcome)],
    differs: &'static str,
}

const fn row(
    number: u8,
    source: &'static str,
    lines: &'static [&'static str],
    expected: &'static [(&'static str, Outcome)],
) -> Vector {
    Vector { number, source, lines, expected, differs: "" }
}

impl Vector {
    const fn differs(self, differs: &'static str) -> Self {
        Self { differs, ..self }
    }
}

const UNREAD: &str =
    "properties are skipped unread, so a malformed property does not affect the value";
const VALUE: &str = "the member is found, but its decoded value is not a routing key";
const LITERAL: &str = "names are never percent-decoded (W3C 3.3.1.1)";
const MANY: &str = "any number of members is read within 8,192 bytes";

#[rustfmt::skip]
const VECTORS: &[Vector] = &[
    row(1, "W3C", &["SomeKey=SomeValue"], &[("SomeKey", Key("SomeValue"))]),
    row(2, "W3C", &["SomeKey=SomeValue;SomeProp,SomeKey2=SomeValue2;ValueProp=PropVal"], &[("SomeKey", Key("SomeValue")), ("SomeKey2", Key("SomeValue2"))]),
    row(3, "W3C", &["SomeKey \t = \t SomeValue \t ; \t SomeProp \t , \t SomeKey2 \t = \t SomeValue2 \t ; \t ValueProp \t = \t PropVal"], &[("SomeKey", Key("SomeValue")), ("SomeKey2", Key("SomeValue2")), ("SomeProp", Absent)]),
    row(4, "W3C", &["SomeKey=SomeValue=equals"], &[("SomeKey", NoKey)]).differs(VALUE),
    row(5, "W3C", &["SomeKey=%09%20%22%27%3B%3Dasdf%21%40%23%24%25%5E%26%2A%28%29"], &[("SomeKey", NoKey)]).differs(VALUE),
    row(6, "W3C", &["SomeKey=SomeValue;SomeProp;SomeProp=PropValue;SomeProp=AnotherPropValue"], &[("SomeKey", Key("SomeValue")), ("SomeProp", Absent)]),
    row(7, "W3C", &["SomeKey=SomeValue;ValueProp%20%09%20%3D%20%09%20PropVal"], &[("SomeKey", Key("SomeValue"))]),
    row(8, "W3C", &["SomeKey=SomeValue;SomePropKey=%09%20%22%27%3B%3Dasdf%21%40%23%24%25%5E%26%2A%28%29"], &[("SomeKey", Key("SomeValue"))]),
    row(12, "Go", &[""], &[("foo", Absent)]),
    row(13, "Go", &["foo="], &[("foo", NoKey)]).differs(VALUE),
    row(14, "Go", &["foo=1+1"], &[("foo", NoKey)]).differs(VALUE),
    row(15, "Go", &["foo=1%2B1"], &[("foo", NoKey)]).differs(VALUE),
    row(16, "Go", &["foo=1/1"], &[("foo", NoKey)]).differs(VALUE),
    row(17, "Go", &["foo=1%2F1"], &[("foo", NoKey)]).differs(VALUE),
    row(18, "Go", &["foo=1=1"], &[("foo", NoKey)]).differs(VALUE),
    row(19, "Go", &["foo=1%3D1"], &[("foo", NoKey)]).differs(VALUE),
    row(20, "Go", &[" foo \t= 1\t\t "], &[("foo", Key("1"))]),
    row(21, "Go", &["foo=;state=on;red"], &[("foo", NoKey), ("state", Absent)]).differs(VALUE),
    row(22, "Go", &["foo=0=0=0"], &[("foo", NoKey)]).differs(VALUE),
    row(23, "Go", &["foo=1;state=on;red,bar=2;yellow"], &[("foo", Key("1")), ("bar", Key("2"))]),
    row(24, "Go", &["foo=1;state=on;red,foo=2"], &[("foo", Key("2"))]),
    row(25, "Go", &["key=="], &[("key", NoKey)]).differs(VALUE),
    row(26, "Go", &["key1=val%252%2C"], &[("key1", NoKey)]).differs(VALUE),
    row(27, "Go", &["key1=;bar=val%252%2C"], &[("key1", NoKey), ("bar", Absent)]).differs(VALUE),
    row(28, "Go", &["foo=%C4%85%C5%9B%C4%87"], &[("foo", NoKey)]).differs(VALUE),
    row(29, "Go", &["a=b,%C4%85%C5%9B%C4%87=%C4%85%C5%9B%C4%87"], &[("a", Key("b")), ("%C4%85%C5%9B%C4%87", NoKey)]).differs(VALUE),
    row(30, "Go", &["foo=,,bar="], &[("foo", NoKey), ("bar", NoKey)]).differs(VALUE),
    row(31, "Go", &["=foo"], &[("foo", Absent)]),
    row(32, "Go", &["foo"], &[("foo", Malformed)]),
    row(33, "Go", &["\\=value"], &[("value", Absent)]),
    row(34, "Go", &["foo=\\"], &[("foo", Malformed)]),
    row(35, "Go", &["key1=val%"], &[("key1", Malformed)]),
    row(36, "Go", &["foo=1;=v"], &[("foo", Key("1"))]).differs(UNREAD),
    row(37, "Go", &["foo=1;key\\=v"], &[("foo", Key("1"))]).differs(UNREAD),
    row(38, "Go", &["foo=1;key=\\"], &[("foo", Key("1"))]).differs(UNREAD),
    row(39, "Go", &["foo=1;key=val%"], &[("foo", Key("1"))]).differs(UNREAD),
    row(43, "Go", &["k=aa%ffcc;p=d%fff"], &[("k", NoKey)]).differs(VALUE),
    row(44, "Go", &["k=aa%ffcc%fedd%fa"], &[("k", NoKey)]).differs(VALUE),
    row(45, "Go", &["k=aa%26cc"], &[("k", NoKey)]).differs(VALUE),
    row(46, "Go", &["key1 =   val1,  key2 =val2   "], &[("key1", Key("val1")), ("key2", Key("val2"))]),
    row(47, "Go", &["key1=val1,key2=val2,a,val3"], &[("key1", Key("val1")), ("key2", Key("val2")), ("a", Malformed)]),
    row(48, "Go", &["key1=val1", "key1=val2"], &[("key1", Key("val2"))]),
    row(49, "Go", &["", "key1=val1"], &[("key1", Key("val1"))]),
    row(52, "Java", &["key=value1,key=value2"], &[("key", Key("value2"))]),
    row(53, "Java", &["   =value1"], &[("value1", Absent)]),
    row(54, "Java", &["ke y=value1"], &[("ke", Absent), ("y", Absent)]),
    row(55, "Java", &["ke?y=value1"], &[("ke", Absent), ("y", Absent)]),
    row(56, "Java", &["ke<y=value1, ;sss,key=value;meta1=value1;meta2=value2,ke(y=value;meta=val "], &[("key", Key("value")), ("ke", Absent), ("y", Absent), ("sss", Absent)]),
    row(57, "Java", &["key=value%201"], &[("key", NoKey)]).differs(VALUE),
    row(58, "Java", &["key=value1      ;meta1=meta2"], &[("key", Key("value1"))]),
    row(59, "Java", &["key1=     "], &[("key1", NoKey)]).differs(VALUE),
    row(60, "Java", &["key=valu e1,key1=val"], &[("key", Malformed), ("key1", Key("val"))]),
    row(61, "Java", &["key=val\\ue1"], &[("key", Malformed)]),
    row(62, "Java", &["key1=,key1=val"], &[("key1", Key("val"))]),
    row(63, "Java", &["bad=va%lue,key1=value1,encoded=value%202"], &[("bad", Malformed), ("key1", Key("value1")), ("encoded", NoKey)]).differs(VALUE),
    row(64, "Java", &["bad3=value;meta=%GG"], &[("bad3", Key("value"))]).differs(UNREAD),
    row(65, "Java", &["k1=v1,k2=v0", "k2=v2,k3=v3"], &[("k1", Key("v1")), ("k2", Key("v2")), ("k3", Key("v3"))]),
    row(66, "Java", &["!@#$%^", "key=va%lue"], &[("key", Malformed)]),
    row(67, "Java", &["key1= v;alsdf;-asdflkjasdf===asdlfkjadsf ,,a sdf9asdf-alue1; metadata-key = value; othermetadata, key2 =value2, key3 =\tvalue3 ; "], &[("key1", Key("v")), ("key2", Key("value2")), ("key3", Key("value3")), ("a", Absent)]),
    row(68, "JS", &["key1=d4cda95b==,key3=c88815a7, keyn   = valn, keym =valm"], &[("key1", NoKey), ("key3", Key("c88815a7")), ("keyn", Key("valn")), ("keym", Key("valm"))]).differs(VALUE),
    row(69, "JS", &["key1:value,key2=value2"], &[("key1", Absent), ("key2", Key("value2"))]),
    row(70, "JS", &["key1=,key2=value2"], &[("key1", NoKey), ("key2", Key("value2"))]).differs("an empty value is a value, but not a routing key"),
    row(73, "Python", &["key1=val1,key2=val2;prop=1;prop2"], &[("key2", Key("val2"))]).differs("Python leaves the properties in the value"),
    row(74, "Python", &["key%23key=value%23value"], &[("key#key", Absent), ("key%23key", NoKey)]).differs(LITERAL),
    row(76, "Python", &["key1=val1,key2=testé"], &[("key1", Key("val1")), ("key2", Malformed)]),
    row(77, "C++", &["1a-2f%40foo=bar%251,a%2A%2Ffoo-_%2Fbar=bar+4"], &[("1a-2f@foo", Absent), ("1a-2f%40foo", NoKey), ("a%2A%2Ffoo-_%2Fbar", NoKey)]).differs(LITERAL),
    row(78, "C++", &[",k1 =v1,k2=v2 ; metadata,"], &[("k1", Key("v1")), ("k2", Key("v2"))]).differs("C++ leaves the properties in the value"),
    row(79, "C++", &["k1=%5zv"], &[("k1", Malformed)]),
    row(80, "C++", &["k%00=v1"], &[("k", Absent), ("k%00", Key("v1"))]).differs(LITERAL),
    row(81, "C++", &["k=v%7f"], &[("k", NoKey)]),
    row(82, "C++", &[",=,"], &[("k", Absent)]),
    row(83, ".NET", &["noequals,=orphanvalue,validkey=validvalue,"], &[("noequals", Malformed), ("validkey", Key("validvalue"))]),
    row(84, ".NET", &["key%20name=value"], &[("key%20name", Key("value")), ("key name", Absent)]),
    row(85, ".NET", &["key+name=value"], &[("key+name", Key("value"))]),
    row(86, ".NET", &["SomeKey=SomeValue;metadata"], &[("SomeKey", Key("SomeValue"))]),
    row(87, "Rust", &["key1=val1,key2=val2%2Cval3"], &[("key1", Key("val1")), ("key2", NoKey)]).differs(VALUE),
    row(88, "Rust", &["key1=val1,key2=val2,a,val3"], &[("key1", Key("val1")), ("key2", Key("val2")), ("val3", Malformed)]),
];

/// The vectors whose input is too long for [`VECTORS`].
fn built() -> Vec<(u8, Vec<String>, &'static str, Outcome, &'static str)> {
    let members = |count: usize| -> String {
        let members: Vec<_> = (0..count).map(|n| format!("k{n:03}=v{n:03}")).collect();
        members.join(",")
    };
    let fill = |bytes: usize| format!("a={}", "v".repeat(bytes - 2));
    vec![
        (10, vec![fill(8192)], "a", NoKey, VALUE),
        (11, vec![vec!["sixteen-byte=kv"; 512].join(",")], "sixteen-byte", Key("kv"), ""),
        (40, vec![fill(8193)], "a", TooLong, ""),
        (41, vec![members(65)], "k064", Key("v064"), MANY),
        (42, vec![[&fill(2730)[..], &fill(2730), &fill(2730)].join(",")], "a", NoKey, VALUE),
        (50, vec![fill(8193)], "b", TooLong, ""),
        (51, vec![fill(4096), fill(4096)], "b", TooLong, ""),
        (71, vec![members(200)], "k199", Key("v199"), MANY),
        (72, vec![[&fill(4097)[..], "b=c"].join(",")], "b", Key("c"), ""),
    ]
}

fn find(lines: &[impl AsRef<str>], name: &str) -> Outcome {
    let lines: Vec<&str> = lines.iter().map(AsRef::as_ref).collect();
    match baggage::find(lines.join(",").as_bytes(), name).into_result() {
        // Leaks a few bytes, so that the expected results can be constants.
        Ok(key) => Key(String::leak(key.to_string())),
        Err(None) => Absent,
        Err(Some(Reason::InvalidKey)) => NoKey,
        Err(Some(Reason::MalformedMember)) => Malformed,
        Err(Some(Reason::CarrierTooLong)) => TooLong,
        Err(Some(other)) => unreachable!("not a result of reading baggage: {other:?}"),
    }
}

#[test]
fn each_vector_is_read_as_expected() {
    for Vector { number, source, lines, expected, differs } in VECTORS {
        for (name, expected) in *expected {
            let found = find(lines, name);
            assert_eq!(found, *expected, "{number} ({source}) {lines:?} `{name}` {differs}");
        }
    }
    for (number, lines, name, expected, differs) in built() {
        assert_eq!(find(&lines, name), expected, "{number} `{name}` {differs}");
    }
}

/// Vectors 9 and 75 are about writing. Vector 10 is about reading and writing.
#[test]
fn a_member_is_inserted_within_the_limits() {
    let key: RoutingKey = "pr-1".parse().expect("a key");
    let insert = |list: &str| {
        let longer = baggage::insert(list.as_bytes(), "sandbox", &key);
        longer.map(|longer| String::from_utf8_lossy(&longer).into_owned())
    };
    // 75 (Python): a routing key needs no encoding, so every SDK reads it as it was written.
    assert_eq!(insert("").as_deref(), Some("sandbox=pr-1"));
    assert_eq!(insert("a=b;p , c").as_deref(), Some("sandbox=pr-1,a=b;p , c"));
    // Other members of the name go, so that the list names one key.
    let old = "a=b, sandbox = x;p,sandbox,sandboxes=1,sandbox=%zz";
    assert_eq!(insert(old).as_deref(), Some("sandbox=pr-1,a=b,sandboxes=1"));
    // 9 (W3C): 64 members must be propagated; a platform may drop one more.
    assert!(insert(&vec!["a=b"; 63].join(",")).is_some());
    assert_eq!(insert(&vec!["a=b"; 64].join(",")), None);
    // 10 (W3C): 8,192 bytes must be propagated.
    let room = 8192 - ",sandbox=pr-1".len();
    assert!(insert(&"a".repeat(room)).is_some());
    assert_eq!(insert(&"a".repeat(room + 1)), None);
}

#[test]
fn no_vector_is_missing() {
    let mut numbers: Vec<u8> = VECTORS.iter().map(|vector| vector.number).collect();
    numbers.extend(built().iter().map(|(number, ..)| *number));
    // Asserted by `a_member_is_inserted_within_the_limits`.
    numbers.extend([9, 75]);
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=88).collect::<Vec<_>>());
}
