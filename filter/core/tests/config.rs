//! A configuration is checked whole: what is refused, and where the error says that it stands.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use skycap_core::{config::PluginConfig, table::Table};

const GOOD: &str = r#"{"version":"1.0","generation":"0123456789ab","enabled":true,
    "dispatch":"authority","explain":"token:abc","clusterDomain":"example.org",
    "carriers":[{"baggage":"sandbox"},{"header":"X-Tenant","inject":true}],
    "routes":[{"service":"cart.shop","port":80,"to":"cart-{key}","toPort":8080,"unavailable":true}],
    "keys":"pr-1:0 pr-2:0"}"#;

/// What the table says of [`GOOD`] with `from` written as `to`.
fn refusal(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "`{from}` is not in the good configuration");
    let json = GOOD.replacen(from, to, 1);
    Table::from_json(json.as_bytes())
        .map(|_| format!("took {json}"))
        .unwrap_or_else(|e| e.to_string())
}

#[test]
fn each_refusal_names_its_place() {
    for (from, to, place, expected) in [
        ("\"1.0\"", "\"2.0\"", "`version`", "expected `1.0`"),
        ("\"1.0\"", "1", "`version`", "expected a string"),
        ("\"version\":\"1.0\",", "", "pluginConfig", "missing field `version`"),
        ("\"0123456789ab\"", "\"xyz\"", "`generation`", "12 hexadecimal digits"),
        ("\"enabled\":true", "\"enabled\":\"true\"", "`enabled`", "expected a boolean"),
        ("\"enabled\"", "\"enabeld\"", "`enabeld`", "no field of version 1.0"),
        ("\"authority\"", "\"Authority\"", "`dispatch`", "`cluster-header`"),
        ("token:abc", "token:", "`explain`", "`off`, `on` nor `token:`"),
        ("example.org", "example..org", "`clusterDomain`", "a DNS name"),
        (
            "[{\"baggage\":\"sandbox\"},{\"header\":\"X-Tenant\",\"inject\":true}]",
            "[]",
            "`carriers`",
            "1 to 16",
        ),
        ("{\"baggage\":\"sandbox\"}", "{}", "`carriers[0]`", "exactly one of"),
        (
            "{\"baggage\":\"sandbox\"}",
            "{\"baggage\":\"a\",\"query\":\"b\"}",
            "`carriers[0]`",
            "exactly one of",
        ),
        ("{\"baggage\":\"sandbox\"}", "{\"baggage\":\"a b\"}", "`carriers[0]`", "no token"),
        (
            "{\"baggage\":\"sandbox\"}",
            "{\"baggage\":\"a\",\"inject\":true}",
            "`carriers[0]`",
            "other than baggage",
        ),
        ("{\"baggage\":\"sandbox\"}", "{\"bagage\":\"a\"}", "`carriers[0]`", "exactly one of"),
        ("{\"baggage\":\"sandbox\"}", "{\"baggage\":\"a\",\"x\":1}", "`carriers.0.x`", "no field"),
        ("X-Tenant", "x-skycap-cluster", "`carriers[1]`", "belongs to skycap"),
        (
            "\"header\":\"X-Tenant\"",
            "\"host\":\"preview.example.com\"",
            "`carriers[1]`",
            "one `{key}`",
        ),
        (
            "\"header\":\"X-Tenant\"",
            "\"tracestate\":\"Sandbox\"",
            "`carriers[1]`",
            "key of tracestate",
        ),
        ("cart.shop", "cart", "`routes[0].service`", "as `cart.shop`"),
        ("cart.shop", "Cart.shop", "`routes[0].service`", "a DNS label"),
        ("\"port\":80", "\"port\":0", "`routes[0].port`", "nonzero u16"),
        ("\"toPort\":8080", "\"toPort\":70000", "`routes[0].toPort`", "nonzero u16"),
        ("cart-{key}", "cart-{kex}", "`routes[0].to`", "one `{key}`"),
        ("cart-{key}", "{key}-{key}", "`routes[0].to`", "one `{key}`"),
        (
            "\"unavailable\":true",
            "\"unavailable\":true,\"weight\":1",
            "`routes.0.weight`",
            "no field",
        ),
        ("pr-1:0", "pr/1:0", "`keys`", "`pr/1` has a byte outside"),
        ("pr-1:0", ":0", "`keys`", "is empty"),
        ("pr-1:0", "pr-1", "`keys`", "`pr-1`: expected a routing key, a colon"),
        ("pr-1:0 ", "pr-1:0  ", "`keys`", "``: expected a routing key, a colon"),
        ("pr-1:0", "pr-1:-1", "`keys`", "`-1` of key `pr-1`"),
        ("pr-1:0", "pr-1:0,", "`keys`", "`` of key `pr-1`"),
        ("pr-1:0", "pr-1:0,1", "`keys`, `pr-1`", "there is no route 1"),
        ("pr-1:0", "pr-2:0", "`keys`, `pr-2`", "there twice"),
        ("\"pr-1:0 pr-2:0\"", "[]", "`keys`", "a string of routing keys"),
        (
            "\"version\":\"1.0\"",
            "\"version\":\"1.0\",\"version\":\"1.0\"",
            "",
            "duplicate field `version`",
        ),
        ("pr-2:0\"}", "pr-2:0\"} x", "pluginConfig", "trailing characters"),
        ("pr-2:0\"}", "pr-2:0\"", "", "EOF"),
    ] {
        let said = refusal(from, to);
        assert!(said.contains(place) && said.contains(expected), "`{to}`: {said}");
    }
}

#[test]
fn what_is_no_json_is_refused() {
    for bytes in [&b""[..], b"null", b"[]", b"\xff\xfe", b"{\"version\":\"\xff\"}"] {
        assert!(Table::from_json(bytes).is_err(), "took `{}`", bytes.escape_ascii());
    }
}

#[test]
fn a_newer_minor_version_may_know_more() {
    let newer = |version: &str| {
        let json = GOOD.replace("\"1.0\"", &format!("\"{version}\""));
        let json = json.replace("\"unavailable\":true", "\"unavailable\":true,\"weight\":1");
        Table::from_json(json.replacen('{', "{\"new\":{\"a\":[1]},", 1).as_bytes())
    };
    assert!(newer("1.1").is_ok());
    assert!(newer("1.0").is_err());
    assert!(newer("2.1").is_err());
}

#[test]
fn what_is_written_is_read() {
    let config = PluginConfig::from_json(GOOD.as_bytes()).expect("it is good");
    let json = config.clone().into_json().expect("it is written");
    let again = PluginConfig::from_json(json.as_bytes()).expect("it is read");
    assert_ne!(again.generation, config.generation, "the generation is of the content");
    assert_eq!(PluginConfig { generation: config.generation, ..again }, config);
    // The generation does not depend on the one that was there before.
    let rewritten = PluginConfig::from_json(json.as_bytes()).map(PluginConfig::into_json);
    assert_eq!(rewritten.expect("it is read").expect("it is written"), json);
}
