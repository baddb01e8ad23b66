use super::*;
use crate::table::{compile::compile, input::Input, manifests::Manifests};

/// What the controller publishes of these manifests.
fn published(documents: &str, now: Timestamp) -> (Summary, Report) {
    let mut manifests = Manifests::default();
    manifests.add(documents, "test.yaml");
    let compilation = compile(&Input::new(&manifests, now), now);
    let config = compilation.config.expect("valid settings");
    let summary = Summary {
        generation: config.generation.to_string(),
        enabled: config.enabled,
        ..<_>::default()
    };
    (summary, compilation.report)
}

fn sandbox(data: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: pr-1, namespace: shop, labels: {{skycap.dev/kind: \
         sandbox}}}}\ndata: {{{data}}}\n"
    )
}

#[test]
fn a_sandbox_is_compiled_when_the_report_has_it_as_it_is_now() {
    let service = |name| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{ports: [{{port: 80}}]}}\n"
        )
    };
    let (cart, target) = (service("cart"), service("cart-pr-1"));
    let own = "routes: 'cart: cart-pr-1'";
    for (now, compiled, services, expected) in [
        (own, own, [&cart, &target], "compiled"),
        ("enabled: 'true'", own, [&cart, &target], "nothing to route"),
        (own, own, [&cart, &cart], "there is no Service `cart-pr-1`"),
        (own, own, [&target, &target], "applies to no request: there is no Service `cart`"),
        ("routes: 'cart: cart-pr-2'", own, [&cart, &target], "its latest change"),
        ("routes: 'cart: cart-pr-1', key: other", own, [&cart, &target], "its latest change"),
        (own, "enabled: 'false'", [&cart, &target], "its latest change"),
        ("enabled: 'false'", own, [&cart, &target], "skycap enable pr-1 -n shop"),
        ("nonsense: 'a'", own, [&cart, &target], "refused: "),
        ("expires: '2020-01-01T00:00:00Z'", own, [&cart, &target], "has expired"),
        (
            "routes: 'cart: cart-pr-1', extends: nobody",
            "routes: 'cart: cart-pr-1', extends: nobody",
            [&cart, &target],
            "compiled",
        ),
    ] {
        let time = Timestamp::now();
        let documents = [sandbox(compiled), services.map(String::as_str).concat()].concat();
        let (summary, report) = published(&documents, time);
        let map = serde_saphyr::from_str(&sandbox(now)).expect("a ConfigMap");
        let stage = Stage::of(&map, &summary, &report, time);
        let found = match &stage {
            Stage::Compiled(Compiled { is_idle: true, .. }) => "nothing to route",
            Stage::Compiled(_) => "compiled",
            Stage::Waiting(why) | Stage::Refused(why) => why,
        };
        assert!(found.contains(expected), "{now}: expected `{expected}`: {stage:?}");
    }
}
