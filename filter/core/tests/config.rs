//! Which configurations are rejected, and which field the error names.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use skycap_core::{
    config::PluginConfig,
    table::{Seed, Table},
};

const VALID: &str = r#"{"version":"1.0","generation":"0123456789ab","enabled":true,
    "dispatch":"authority","explain":"token:abc","clusterDomain":"example.org",
    "carriers":[{"baggage":"sandbox"},{"header":"X-Tenant","inject":true}],
    "edge":"istio=ingressgateway accept:demo-* host:{key}.example.org",
    "routes":[{"service":"cart.shop","port":80,"to":"cart-{key}","toPort":8080,"unavailable":true}],
    "keys":"pr-1:0 pr-2:0"}"#;

/// One change to [`VALID`] that makes it invalid, and two parts of the error.
struct Invalid {
    from: &'static str,
    to: &'static str,
    field: &'static str,
    expected: &'static str,
}

const fn invalid(
    from: &'static str,
    to: &'static str,
    field: &'static str,
    expected: &'static str,
) -> Invalid {
    Invalid { from, to, field, expected }
}

const BAGGAGE: &str = r#"{"baggage":"sandbox"}"#;
const TENANT: &str = r#""header":"X-Tenant""#;
const CARRIERS: &str = r#"[{"baggage":"sandbox"},{"header":"X-Tenant","inject":true}]"#;
const VERSION: &str = r#""version":"1.0""#;
const UNAVAILABLE: &str = r#""unavailable":true"#;

#[rustfmt::skip]
const INVALID: &[Invalid] = &[
    invalid("\"1.0\"", "\"2.0\"", "`version`", "unsupported version `2.0`: expected `1.x`"),
    invalid("\"1.0\"", "\"1\"", "`version`", "invalid value `1`: expected `MAJOR.MINOR`"),
    invalid("\"1.0\"", "1", "`version`", "expected a string"),
    invalid("\"version\":\"1.0\",", "", "pluginConfig", "missing field `version`"),
    invalid("\"0123456789ab\"", "\"xyz\"", "`generation`", "12 hexadecimal digits"),
    invalid("\"enabled\":true", "\"enabled\":\"true\"", "`enabled`", "expected a boolean"),
    invalid("\"enabled\"", "\"enabeld\"", "`enabeld`", "schema version 1.1"),
    invalid("\"authority\"", "\"Authority\"", "`dispatch`", "expected `cluster-header`"),
    invalid("token:abc", "sha256:abc", "`explain`", "`sha256:`"),
    invalid("token:abc", "token:", "`explain`", "expected `off`, `on` or `token:TOKEN`"),
    invalid("example.org", "example..org", "`clusterDomain`", "expected a DNS name"),
    invalid(CARRIERS, "[]", "`carriers`", "expected 1 to 16 carriers, found 0"),
    invalid(BAGGAGE, "{}", "`carriers[0]`", "exactly one of"),
    invalid(BAGGAGE, r#"{"baggage":"a","query":"b"}"#, "`carriers[0]`", "exactly one of"),
    invalid(BAGGAGE, r#"{"baggage":"a b"}"#, "`carriers[0]`", "expected a token"),
    invalid(BAGGAGE, r#"{"baggage":"a","inject":true}"#, "`carriers[0]`", "remove `inject`"),
    invalid(BAGGAGE, r#"{"bagage":"a"}"#, "`carriers[0]`", "exactly one of"),
    invalid(BAGGAGE, r#"{"baggage":"a","x":1}"#, "`carriers.0.x`", "unknown field"),
    invalid("X-Tenant", "x-skycap-cluster", "`carriers[1]`", "a header of your own"),
    invalid("X-Tenant", "Baggage", "`carriers[1]`", "a header of your own"),
    invalid(TENANT, r#""host":"preview.example.com""#, "`carriers[1]`", "one `{key}`"),
    invalid(TENANT, r#""query":"a&b""#, "`carriers[1]`", "expected a query parameter"),
    invalid(TENANT, r#""tracestate":"Sandbox""#, "`carriers[1]`", "expected a tracestate key"),
    invalid("demo-*", "demo*-", "`edge`", "or the start of one and `*`"),
    invalid("{key}.example.org", "example.org", "`edge`", "one `{key}`"),
    invalid("istio=ingressgateway", "istio", "`edge`", "or labels such as"),
    invalid("cart.shop", "cart", "`routes[0].service`", "such as `cart.shop`"),
    invalid("cart.shop", "Cart.shop", "`routes[0].service`", "expected a DNS label"),
    invalid("\"port\":80", "\"port\":0", "`routes[0].port`", "nonzero u16"),
    invalid("\"toPort\":8080", "\"toPort\":70000", "`routes[0].toPort`", "nonzero u16"),
    invalid("cart-{key}", "cart-{kex}", "`routes[0].to`", "one `{key}`"),
    invalid("cart-{key}", "{key}-{key}", "`routes[0].to`", "one `{key}`"),
    invalid(UNAVAILABLE, r#""unavailable":true,"weight":1"#, "`routes.0.weight`", "unknown field"),
    invalid("pr-1:0", "pr/1:0", "`keys`", "key `pr/1`: it contains a byte outside"),
    invalid("pr-1:0", ":0", "`keys`", "key ``: it is empty"),
    invalid("pr-1:0", "pr-1", "`keys`", "`pr-1`: expected a routing key, a colon"),
    invalid("pr-1:0 ", "pr-1:0  ", "`keys`", "``: expected a routing key, a colon"),
    invalid("pr-1:0", "pr-1:-1", "`keys`", "`-1` for key `pr-1`"),
    invalid("pr-1:0", "pr-1:0,", "`keys`", "`` for key `pr-1`"),
    invalid("pr-1:0", "pr-1:0,1", "`keys`", "`1` for key `pr-1`: expected a number below 1"),
    invalid("pr-1:0", "pr-2:0", "`keys`", "duplicate key `pr-2`"),
    invalid("\"pr-1:0 pr-2:0\"", "[]", "`keys`", "a string of routing keys"),
    invalid(VERSION, r#""version":"1.0","version":"1.0""#, "pluginConfig", "duplicate field `version`"),
    invalid("pr-2:0\"}", "pr-2:0\"} x", "pluginConfig", "trailing characters"),
    invalid("pr-2:0\"}", "pr-2:0\"", "pluginConfig", "EOF"),
];

#[test]
fn each_error_names_the_field_and_what_it_expected() {
    assert!(Table::from_json(VALID.as_bytes(), Seed::new([1, 2])).is_ok());
    for Invalid { from, to, field, expected } in INVALID {
        assert!(VALID.contains(from), "`{from}` is not in the valid configuration");
        let json = VALID.replacen(from, to, 1);
        let Err(error) = Table::from_json(json.as_bytes(), Seed::new([1, 2])) else {
            panic!("accepted {json}")
        };
        let error = error.to_string();
        assert!(error.contains(field) && error.contains(expected), "`{to}`: {error}");
    }
}

#[test]
fn a_token_is_not_part_of_the_error() {
    let json = VALID.replace("token:abc", "token: secret");
    let error = Table::from_json(json.as_bytes(), Seed::new([1, 2]))
        .expect_err("a space in a token")
        .to_string();
    assert!(error.contains("`explain`") && !error.contains("secret"), "{error}");
}

#[test]
fn bytes_that_are_not_a_json_object_are_rejected() {
    for (bytes, expected) in [
        (&b""[..], "EOF"),
        (b"null", "invalid type: null"),
        (b"[]", "invalid type: array"),
        // serde would read the items as the fields in their order.
        (b" [\"1.0\"]", "invalid type: array"),
        (b"\xff\xfe", "expected value"),
        (b"{\"version\":\"\xff\"}", "invalid unicode"),
    ] {
        let error =
            Table::from_json(bytes, Seed::new([1, 2])).expect_err("not an object").to_string();
        assert!(error.contains(expected), "`{}`: {error}", bytes.escape_ascii());
    }
}

#[test]
fn only_a_newer_minor_version_may_have_unknown_fields() {
    let with_unknown_fields = |version: &str| {
        let json = VALID.replace("\"1.0\"", &format!("\"{version}\""));
        let json = json.replace(UNAVAILABLE, "\"unavailable\":true,\"weight\":1");
        Table::from_json(
            json.replacen('{', "{\"new\":{\"a\":[1]},", 1).as_bytes(),
            Seed::new([1, 2]),
        )
    };
    assert!(with_unknown_fields("1.2").is_ok());
    assert!(with_unknown_fields("1.1").is_err());
    assert!(with_unknown_fields("2.1").is_err());
}

#[test]
fn a_written_configuration_is_read_as_the_same() {
    let config = PluginConfig::from_json(VALID.as_bytes()).expect("it is valid");
    let json = config.clone().into_json().expect("it is written");
    let again = PluginConfig::from_json(json.as_bytes()).expect("it is read");
    assert_eq!(PluginConfig { generation: config.generation, ..again }, config);
}

#[test]
fn the_generation_depends_on_the_content_only() {
    let generation = |json: &str| {
        PluginConfig::from_json(json.as_bytes()).expect("it is valid").stamped().generation
    };
    let first = generation(VALID);
    // The generation that VALID states is not the one of its content.
    assert_eq!(generation(&VALID.replace("0123456789ab", "ba9876543210")), first);
    assert_ne!(first.to_string(), "0123456789ab");
    for (from, to) in [
        ("\"enabled\":true", "\"enabled\":false"),
        ("\"port\":80", "\"port\":81"),
        ("pr-2:0", "pr-3:0"),
        ("pr-2:0", "pr-2:"),
    ] {
        assert_ne!(generation(&VALID.replace(from, to)), first, "{to}");
    }
}
