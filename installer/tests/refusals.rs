//! Where a mesh of the Gateway API would silently ignore the HTTPRoutes of a Service, or break it,
//! skycap reports the field and the affected keys, and writes no HTTPRoute for the Service.

use jiff::Timestamp;
use skycap::{
    desired::gateway_api::HttpRoutes,
    problem::Severity,
    table::{compile::compile, input::Input, manifests::Manifests},
};

const SHOP: &str = "
kind: ConfigMap
metadata: {name: skycap, namespace: skycap-system}
data: {mesh: MESH}
---
kind: ConfigMap
metadata: {name: pr-1, namespace: shop, labels: {skycap.dev/kind: sandbox}}
data: {routes: 'cart: cart-pr-1'}
---
{kind: Service, metadata: {name: cart-pr-1, namespace: shop}, spec: {ports: [{port: 80}]}}
---
";
const CART: &str =
    "{kind: Service, metadata: {name: cart, namespace: shop}, spec: {ports: [{port: 80}]}}";
const TO_CART: &str = "backendRefs: [{name: cart, port: 80}]";

fn http_routes(mesh: &str, yaml: &str) -> HttpRoutes {
    let mut manifests = Manifests::default();
    manifests.add(&SHOP.replace("MESH", mesh), "shop.yaml");
    manifests.add(yaml, "users.yaml");
    let now = Timestamp::constant(1_795_000_000, 0);
    let input = Input::new(&manifests, now);
    let config = compile(&input, now).config.unwrap_or_default();
    HttpRoutes::new(&config, &input.cluster, &input.policies, &input.meshes())
}

/// The cart and a user's HTTPRoute on it with this rule.
fn users_route(rule: &str) -> String {
    format!(
        "{CART}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{name: users, namespace: shop}}\nspec:\n  \
         parentRefs: [{{group: '', kind: Service, name: cart}}]\n  rules: [{rule}]\n"
    )
}

/// The cart's port is refused on this mesh, in this field and with this text, and is not routed.
fn assert_refused(mesh: &str, yaml: &str, field: &str, text: &str) {
    let routes = http_routes(mesh, yaml);
    let found = routes.problems.iter().find(|p| p.field == field && p.text.contains(text));
    let found = found.map(|problem| (problem.severity, problem.text.contains("`pr-1`")));
    assert_eq!(found, Some((Severity::Refused, true)), "{text}: {:?}", routes.problems);
    assert!(routes.objects.is_empty(), "{text}: there are HTTPRoutes");
}

#[test]
fn a_route_that_cannot_be_repeated_for_a_key_is_refused() {
    let headers: Vec<_> = (0..16).map(|n| format!("{{name: h{n}, value: '1'}}")).collect();
    let full = format!("{{headers: [{}]}}", headers.join(","));
    let matches = "spec.rules[0].matches[0]";
    for (one, field, text) in [
        ("{headers: [{name: Baggage, value: a}]}", "headers", "tests `baggage`"),
        (&full, "headers", "no room for the routing key"),
        (
            "{path: {type: RegularExpression, value: '/(a'}}",
            "path",
            "invalid regular expression `/(a`",
        ),
    ] {
        let route = users_route(&format!("{{matches: [{one}], {TO_CART}}}"));
        assert_refused("linkerd", &route, &format!("{matches}.{field}"), text);
    }
    let route = users_route(&format!("{{{TO_CART}}}"));
    let with_hosts = route.replace("spec:\n", "spec:\n  hostnames: [a.example.com]\n");
    assert_refused("linkerd", &with_hosts, "spec.hostnames", "remove `hostnames`");
    let two_ports = route.replace("{port: 80}]}", "{port: 80}, {port: 81}]}");
    let text = "set `port` in all parentRefs";
    assert_refused("gateway-api", &two_ports, "spec.parentRefs", text);
    let no_backends = users_route("{matches: [{path: {value: /a}}]}");
    assert_refused("gateway-api", &no_backends, "spec.rules[0]", "get a 500");
    let weights = "{backendRefs: [{name: a, port: 80, weight: 0}, {name: b, port: 80, weight: 0}]}";
    let field = "spec.rules[0].backendRefs";
    assert_refused("linkerd", &users_route(weights), field, "all weights are 0");
}

#[test]
fn a_service_whose_http_routes_are_overridden_is_refused() {
    let of_kind = |version: &str, kind: &str, name: &str, spec: &str| {
        format!(
            "{CART}\n---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"
        )
    };
    let parents = "parentRefs: [{group: '', kind: Service, name: cart}]";
    let rules = format!("{{{parents}, rules: [{{{TO_CART}}}]}}");
    let grpc = of_kind("gateway.networking.k8s.io/v1", "GRPCRoute", "users", &rules);
    assert_refused("linkerd", &grpc, "spec.parentRefs", "make it an HTTPRoute");
    let host = "cart.shop.svc.cluster.local";
    let profile = of_kind("linkerd.io/v1alpha2", "ServiceProfile", host, "{routes: [{name: a}]}");
    assert_refused("linkerd", &profile, "spec", "overrides all HTTPRoutes");
}

#[test]
fn a_port_that_is_not_http_for_the_mesh_is_refused() {
    let port = |fields: &str| CART.replace("{port: 80}", &format!("{{port: 80{fields}}}"));
    let annotation = "annotations: {config.linkerd.io/opaque-ports: '70-90'}";
    let opaque = CART.replace("namespace: shop", &format!("namespace: shop, {annotation}"));
    let headless = CART.replace("spec: {", "spec: {clusterIP: None, ");
    let database = CART.replace("port: 80", "port: 5432");
    for (mesh, service, text) in [
        ("linkerd", headless, "has no ClusterIP"),
        ("linkerd", port(", appProtocol: grpc"), "appProtocol `grpc`"),
        ("gateway-api", port(", appProtocol: tcp"), "appProtocol `tcp`"),
        ("linkerd", database, "treats port 5432 as opaque"),
        ("linkerd", opaque, "treats port 80 as opaque"),
    ] {
        assert_refused(mesh, &service, "spec", text);
    }
}

#[test]
fn a_service_is_routed_on_meshes_that_support_it() {
    let rule = "{matches: [{path: {value: /a}}]}";
    for (mesh, yaml) in [
        ("linkerd", users_route(rule)),
        ("gateway-api", CART.replace("{port: 80}", "{port: 80, appProtocol: grpc}")),
        // Of two ports only one is opaque, and no sandbox names it.
        ("linkerd", CART.replace("{port: 80}", "{port: 80}, {port: 9000, appProtocol: tcp}")),
    ] {
        let routes = http_routes(mesh, &yaml);
        assert!(routes.problems.is_empty(), "{mesh}: {:?}", routes.problems);
        assert_eq!(routes.objects.len(), 1, "{mesh}: {yaml}");
    }
}

#[test]
fn a_route_that_linkerd_drops_is_not_repeated() {
    let filter = "filters: [{type: URLRewrite, urlRewrite: {hostname: a}}]";
    let yaml = users_route(&format!("{{{filter}, backendRefs: [{{name: other, port: 80}}]}}"));
    let routes = http_routes("linkerd", &yaml);
    assert!(
        matches!(&routes.problems[..], [p] if p.severity == Severity::Warning && p.text.contains("`URLRewrite`")),
        "{:?}",
        routes.problems
    );
    let text = serde_json::to_string(&routes.objects).unwrap_or_default();
    assert!(!text.contains("other"), "{text}");
    // Other meshes support the filter, so the rules with and without a key have it.
    let text =
        serde_json::to_string(&http_routes("gateway-api", &yaml).objects).unwrap_or_default();
    assert_eq!(text.matches("URLRewrite").count(), 2, "{text}");
}

#[test]
fn a_policy_too_large_for_linkerd_is_refused() {
    let fragments = |count: usize| -> String {
        let sandbox = |n| {
            format!(
                "---\nkind: ConfigMap\nmetadata: {{name: p-{n}, namespace: shop, labels: {{skycap.dev/kind: sandbox}}}}\ndata: {{routes: 'cart: cart-pr-1'}}\n"
            )
        };
        (0..count).map(sandbox).collect()
    };
    let fits = http_routes("linkerd", &format!("{CART}\n{}", fragments(2_500)));
    assert!(fits.problems.is_empty() && fits.objects.len() > 160, "{:?}", fits.problems);
    let too_many = http_routes("linkerd", &format!("{CART}\n{}", fragments(5_000)));
    assert!(too_many.objects.is_empty(), "there are HTTPRoutes");
    assert!(matches!(&too_many.problems[..], [p] if p.text.contains("delete sandboxes")));
}
