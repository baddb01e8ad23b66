//! What a mesh of the Gateway API would pass over in silence, or break a Service by, is refused
//! with the place and the keys that it concerns, and then nothing is written for that Service.

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

fn adapted(mesh: &str, yaml: &str) -> HttpRoutes {
    let mut manifests = Manifests::default();
    manifests.add(&SHOP.replace("MESH", mesh), "shop.yaml");
    manifests.add(yaml, "theirs.yaml");
    let now = Timestamp::constant(1_795_000_000, 0);
    let input = Input::new(&manifests, now);
    let config = compile(&input, now).config.unwrap_or_default();
    HttpRoutes::new(&config, &input.cluster, &input.policies, &input.meshes())
}

/// An HTTPRoute of somebody's on the cart, with this rule.
fn theirs(rule: &str) -> String {
    format!(
        "{CART}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{name: theirs, namespace: shop}}\nspec:\n  \
         parentRefs: [{{group: '', kind: Service, name: cart}}]\n  rules: [{rule}]\n"
    )
}

#[test]
fn what_cannot_be_routed_is_refused() {
    let to = "backendRefs: [{name: cart, port: 80}]";
    let of_kind = |version: &str, kind: &str, name: &str, spec: &str| {
        format!(
            "{CART}\n---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"
        )
    };
    let parents = "parentRefs: [{group: '', kind: Service, name: cart}]";
    let service = |fields: &str| CART.replace("{port: 80}", &format!("{{port: 80{fields}}}"));
    let headers: Vec<_> = (0..16).map(|n| format!("{{name: h{n}, value: '1'}}")).collect();
    for (mesh, yaml, place, text) in [
        (
            "linkerd",
            theirs(&format!("{{{to}}}"))
                .replace("spec:\n", "spec:\n  hostnames: [a.example.com]\n"),
            "spec.hostnames",
            "take `hostnames` away",
        ),
        (
            "linkerd",
            theirs(&format!("{{matches: [{{headers: [{{name: Baggage, value: a}}]}}], {to}}}")),
            "spec.rules[0].matches[0].headers",
            "asks for `baggage`",
        ),
        (
            "linkerd",
            theirs(&format!("{{matches: [{{headers: [{}]}}], {to}}}", headers.join(","))),
            "spec.rules[0].matches[0].headers",
            "no room for the key",
        ),
        (
            "linkerd",
            theirs(&format!(
                "{{matches: [{{path: {{type: RegularExpression, value: '/(a'}}}}], {to}}}"
            )),
            "spec.rules[0].matches[0].path",
            "`/(a` is no regular expression",
        ),
        (
            "gateway-api",
            theirs("{matches: [{path: {value: /a}}]}"),
            "spec.rules[0]",
            "answered with a 500",
        ),
        (
            "linkerd",
            theirs(
                "{backendRefs: [{name: a, port: 80, weight: 0}, {name: b, port: 80, weight: 0}]}",
            ),
            "spec.rules[0].backendRefs",
            "all its weights are 0",
        ),
        (
            "linkerd",
            of_kind(
                "gateway.networking.k8s.io/v1",
                "GRPCRoute",
                "theirs",
                &format!("{{{parents}, rules: [{{{to}}}]}}"),
            ),
            "spec.parentRefs",
            "make it an HTTPRoute",
        ),
        (
            "linkerd",
            of_kind(
                "linkerd.io/v1alpha2",
                "ServiceProfile",
                "cart.shop.svc.cluster.local",
                "{routes: [{name: a}]}",
            ),
            "spec",
            "stands over all HTTPRoutes",
        ),
        (
            "linkerd",
            CART.replace("spec: {", "spec: {clusterIP: None, "),
            "spec",
            "has no ClusterIP",
        ),
        (
            "gateway-api",
            theirs(&format!("{{{to}}}")).replace("{port: 80}]}", "{port: 80}, {port: 81}]}"),
            "spec.parentRefs",
            "write `port` in all",
        ),
        ("linkerd", service(", appProtocol: grpc"), "spec", "appProtocol `grpc`"),
        ("gateway-api", service(", appProtocol: tcp"), "spec", "appProtocol `tcp`"),
        (
            "linkerd",
            CART.replace("port: 80", "port: 5432"),
            "spec",
            "port 5432 is opaque for Linkerd",
        ),
        (
            "linkerd",
            CART.replace(
                "namespace: shop",
                "namespace: shop, annotations: {config.linkerd.io/opaque-ports: '70-90'}",
            ),
            "spec",
            "opaque-ports",
        ),
    ] {
        let routes = adapted(mesh, &yaml);
        let found = routes.problems.iter().find(|p| p.field == place && p.text.contains(text));
        let found = found.map(|problem| (problem.severity, problem.text.contains("`pr-1`")));
        assert_eq!(found, Some((Severity::Refused, true)), "{text}: {:?}", routes.problems);
        assert!(routes.objects.is_empty(), "{text}: it is routed all the same");
    }
}

#[test]
fn what_only_some_meshes_refuse_is_routed_on_the_others() {
    let rule = "{matches: [{path: {value: /a}}]}";
    for (mesh, yaml) in [
        ("linkerd", theirs(rule)),
        ("gateway-api", CART.replace("{port: 80}", "{port: 80, appProtocol: grpc}")),
        // The opaque port of a Service that speaks HTTP on another is nobody's concern.
        ("linkerd", CART.replace("{port: 80}", "{port: 80}, {port: 9000, appProtocol: tcp}")),
    ] {
        let routes = adapted(mesh, &yaml);
        assert!(routes.problems.is_empty(), "{mesh}: {:?}", routes.problems);
        assert_eq!(routes.objects.len(), 1, "{mesh}: {yaml}");
    }
}

#[test]
fn what_linkerd_drops_counts_as_not_there() {
    let filter = "filters: [{type: URLRewrite, urlRewrite: {hostname: a}}]";
    let yaml = theirs(&format!("{{{filter}, backendRefs: [{{name: other, port: 80}}]}}"));
    let routes = adapted("linkerd", &yaml);
    assert!(
        matches!(&routes.problems[..], [p] if p.severity == Severity::Warning && p.text.contains("drops the whole HTTPRoute"))
    );
    let text = serde_json::to_string(&routes.objects).unwrap_or_default();
    assert!(!text.contains("other"), "{text}");
    // Other meshes do as it says, and so do the requests with a key.
    let text = serde_json::to_string(&adapted("gateway-api", &yaml).objects).unwrap_or_default();
    assert_eq!(text.matches("URLRewrite").count(), 2, "{text}");
}

#[test]
fn a_policy_stays_below_what_linkerd_can_send() {
    let fragments = |count: usize| -> String {
        let of = |n| {
            format!(
                "---\nkind: ConfigMap\nmetadata: {{name: p-{n}, namespace: shop, labels: {{skycap.dev/kind: sandbox}}}}\ndata: {{routes: 'cart: cart-pr-1'}}\n"
            )
        };
        (0..count).map(of).collect()
    };
    let fits = adapted("linkerd", &format!("{CART}\n{}", fragments(2_500)));
    assert!(fits.problems.is_empty() && fits.objects.len() > 160, "{:?}", fits.problems);
    let too_many = adapted("linkerd", &format!("{CART}\n{}", fragments(5_000)));
    assert!(too_many.objects.is_empty(), "it is written all the same");
    assert!(matches!(&too_many.problems[..], [p] if p.text.contains("end sandboxes")));
}
