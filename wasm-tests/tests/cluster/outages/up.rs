//! `skycap up` and `down` while the API server is away.

use serde_json::json;
use skycap::desired::istio::PluginKind;
use skycap_tests::{
    cluster::Controller,
    fixture::{
        Fixture,
        interruption::Interrupted,
        manifests::{endpoints, service},
        run,
    },
};

use crate::rights::shop::workload;

#[test]
fn up_and_down_go_on_after_an_absence_at_each_of_their_writes() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let _controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        // Before the first report, `up` takes skycap for not installed.
        fixture.until("a report", async |f| Ok(f.summary().await.is_ok())).await?;
        let mut cart = service("cart");
        cart["spec"]["selector"] = json!({"app": "cart"});
        for object in [cart, workload("Deployment", "cart")] {
            fixture.apply(&object).await?;
        }
        for writes in 1.. {
            let name = format!("pr-{writes}");
            fixture.apply(&endpoints(&format!("cart-{name}"), true)).await?;
            let up = ["up", &name, "-n", "shop", "--fork", "cart", "--no-wait"];
            let mut command = Interrupted::start(fixture, &up, writes).await?;
            if let Some(status) = command.is_cut_off().await? {
                anyhow::ensure!(status.success(), "`up` without an interruption: {status}");
                anyhow::ensure!(writes > 3, "`up` has only {writes} writes");
                break;
            }
            println!("{}", command.says("trying again").await?);
            command.come_back();
            let status = command.ends().await?;
            anyhow::ensure!(status.success(), "cut off after {writes} writes: {status}");
            fixture.has_routes(&name, 1, &name).await?;
        }
        let mut down =
            Interrupted::start(fixture, &["down", "pr-1", "-n", "shop", "--timeout", "5s"], 1)
                .await?;
        anyhow::ensure!(down.is_cut_off().await?.is_none(), "`down` was not cut off");
        down.says("trying again").await?;
        down.come_back();
        // No garbage collector runs here, and `down` says what is left.
        down.says("has not deleted deployment/cart-pr-1").await?;
        fixture.is_deleted("pr-1").await?;
        it_gives_up(fixture).await
    })
}

/// It says what to do, routes nothing, and the next one does what is left.
async fn it_gives_up(fixture: &Fixture) -> anyhow::Result<()> {
    fixture.apply(&endpoints("cart-pr-0", true)).await?;
    let up = ["up", "pr-0", "-n", "shop", "--fork", "cart", "--no-wait"];
    let hasty = [&up[..], &["--timeout", "1s"]].concat();
    let mut command = Interrupted::start(fixture, &hasty, 2).await?;
    anyhow::ensure!(command.is_cut_off().await?.is_none(), "it was not cut off");
    command.be_silent();
    let said = command.says("timed out waiting for the API server").await?;
    println!("{said}");
    anyhow::ensure!(said.contains("run this command again"), "{said}");
    anyhow::ensure!(command.ends().await?.code() == Some(1), "it has no exit code 1");
    let table = fixture.table().await?;
    anyhow::ensure!(!table.keys.iter().any(|(key, _)| key == "pr-0"), "half of it is routed");
    fixture.skycap(&up).await?;
    fixture.has_routes("pr-0", 1, "with another `up`").await?;
    Ok(())
}
