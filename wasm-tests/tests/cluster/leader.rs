//! Of several replicas of the controller, one leads and writes.

use std::time::{Duration, Instant};

use serde_json::json;
use skycap::desired::istio::PluginKind;
use skycap_tests::{
    cluster::Controller,
    fixture::{Fixture, manifests::sandbox, run},
};

#[test]
fn one_replica_writes_and_another_takes_over() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let (first, second) = two_replicas(fixture).await?;
        anyhow::ensure!(!second.leads().await?, "two replicas lead");
        anyhow::ensure!(second.writes().await? == 0.0, "the second has written");
        let killed = Instant::now();
        first.kill().await?;
        fixture.apply(&sandbox("pr-2", json!({"routes": "cart: cart-pr-2"}))).await?;
        fixture.has_key("pr-2", true, "the second takes over").await?;
        let took = killed.elapsed();
        println!("a handover after SIGKILL takes {took:?}");
        // The Lease's 9 s, two looks at it of 2 s, and one round.
        anyhow::ensure!(took < Duration::from_secs(14), "the handover took {took:?}");
        // A replica that ends by SIGTERM gives the Lease back, so none waits until it ends.
        let third = Controller::start(&fixture.cluster, "three", &[]).await?;
        anyhow::ensure!(second.terminate().await?, "SIGTERM: the exit code is not 0");
        let took = fixture.until("the third leads", async |_| third.leads().await).await?;
        println!("a handover after SIGTERM takes {took:?}");
        anyhow::ensure!(took < Duration::from_secs(4), "the handover took {took:?}");
        Ok(())
    })
}

/// Starts a controller, and when it leads, a second one. The first has written the sandbox `pr-1`.
pub(super) async fn two_replicas(fixture: &Fixture) -> anyhow::Result<(Controller, Controller)> {
    let first = Controller::start(&fixture.cluster, "one", &[]).await?;
    fixture.until("a leader", async |_| first.leads().await).await?;
    let second = Controller::start(&fixture.cluster, "two", &[]).await?;
    fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
    fixture.has_key("pr-1", true, "the first writes").await?;
    Ok((first, second))
}
