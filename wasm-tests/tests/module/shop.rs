//! A shop as manifests, and the HTTPRoutes that skycap creates for it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;
use skycap::{
    desired::gateway_api::HttpRoutes,
    table::{compile::compile, input::Input, manifests::Manifests, meshes::Meshes},
};

/// skycap's HTTPRoutes for the shop with these pull requests, beside these routes of others.
pub(super) fn http_routes(keys: &BTreeSet<u16>, foreign: &[Value]) -> HttpRoutes {
    let mut manifests = Manifests::default();
    manifests.add(&shop(keys), "shop");
    for route in foreign {
        manifests.add(&route.to_string(), "theirs");
    }
    let now = Timestamp::constant(1_795_000_000, 0);
    let input = Input::new(&manifests, now);
    let config = compile(&input, now).config.unwrap_or_default();
    HttpRoutes::new(&config, &input.cluster, &input.policies, &Meshes::default())
}

/// A shop in which each of these pull requests replaces the cart.
fn shop(keys: &BTreeSet<u16>) -> String {
    let mut yaml =
        "{kind: Service, metadata: {name: cart, namespace: shop}, spec: {ports: [{port: 80}]}}\n"
            .to_owned();
    for key in keys {
        yaml.push_str(&format!(
            "---\nkind: ConfigMap\nmetadata: {{name: pr-{key}, namespace: shop, labels: {{skycap.dev/kind: sandbox}}}}\ndata: {{routes: 'cart: cart-pr-{key}'}}\n\
             ---\n{{kind: Service, metadata: {{name: cart-pr-{key}, namespace: shop}}, spec: {{ports: [{{port: 80}}]}}}}\n"
        ));
    }
    yaml
}
