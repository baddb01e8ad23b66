//! The demo's shop on Istio's own programs, from the gateway to the last hop.

mod kubernetes;

use std::time::Instant;

use kubernetes::{
    Fixture,
    mesh::{Mesh, enter, on_mesh},
    sandbox,
};
use serde_json::json;
use skycap::istio::PluginKind;

#[test]
fn sandboxes_are_reached_from_the_gateway_to_the_last_hop() -> anyhow::Result<()> {
    on_mesh(PluginKind::TrafficExtension, async |fixture: &mut Fixture, mesh: &mut Mesh| {
        fixture
            .apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1\nfrontend: frontend-pr-1"})))
            .await?;
        fixture
            .until("a", async |_| {
                Ok(enter(&[("baggage", "sandbox=pr-1")]).await?
                    == "frontend-pr-1 > cart-pr-1 > pricing")
            })
            .await?;
        println!("{}", enter(&[]).await?);
        let begun = Instant::now();
        println!(
            "{}",
            mesh.agent("frontend")
                .metrics()
                .await?
                .lines()
                .filter(|l| l.contains("skycap") || l.contains("wasm"))
                .collect::<Vec<_>>()
                .join("\n")
        );
        println!("{:?}", begun.elapsed());
        Ok(())
    })
}
