//! How an environment ends, and what stays until then if it crashes.

use std::time::Instant;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, api::DeleteParams};
use serde_json::json;
use skycap_tests::{
    fixture::{
        Fixture,
        manifests::settings,
        pods::{BASELINE_PATH, path_from_outside},
    },
    process::{process_ids_with, send_signal},
};

use super::{KEY, PR_9, left, path};

/// Again and again, until the kubelet waits before it starts the container again.
pub(super) async fn it_crashes(fixture: &Fixture) -> anyhow::Result<()> {
    let is_listed = async |text: &str| {
        let list = fixture.skycap(&["list", "-n", "shop"]).await?;
        anyhow::Ok(list.contains(text))
    };
    anyhow::ensure!(is_listed("1 of 1").await?, "the fork is not ready");
    fixture
        .until("the fork is down, and the list says so", async |_| {
            for id in process_ids_with("SKYCAP_SANDBOX=pr-9")? {
                send_signal("KILL", &id)?;
            }
            Ok(path(fixture).await? == BASELINE_PATH && is_listed("0 of 1").await?)
        })
        .await?;
    fixture.path_becomes("the fork again", &[KEY], &[BASELINE_PATH], PR_9).await
}

pub(super) async fn it_closes(fixture: &Fixture) -> anyhow::Result<()> {
    let begun = Instant::now();
    println!("{}", fixture.skycap(&["down", "pr-9", "-n", "shop"]).await?);
    println!("down, until nothing is left: {} ms", begun.elapsed().as_millis());
    let left = left(fixture).await?;
    anyhow::ensure!(left.is_empty(), "left: {left:?}");
    anyhow::ensure!(path(fixture).await? == BASELINE_PATH, "the key still has an effect");
    fixture.skycap(&["down", "pr-9", "-n", "shop"]).await?;
    Ok(())
}

/// `kubectl delete configmap` does what `down` does.
pub(super) async fn its_config_map_is_deleted(fixture: &Fixture) -> anyhow::Result<()> {
    fixture.skycap(&["up", "pr-13", "-n", "shop", "--fork", "cart"]).await?;
    let maps = Api::<ConfigMap>::namespaced(fixture.cluster.client.clone(), "shop");
    maps.delete("pr-13", &DeleteParams::default()).await?;
    nothing_is_left(fixture).await
}

/// The controller deletes it. Here it does not wait for an hour.
pub(super) async fn its_time_is_over(fixture: &Fixture) -> anyhow::Result<()> {
    fixture.apply(&settings(json!({"edge": "accept: open", "deleteExpired": "1s"}))).await?;
    fixture.skycap(&["up", "pr-13", "-n", "shop", "--fork", "cart", "--ttl", "10s"]).await?;
    let key = ("baggage", "sandbox=pr-13");
    let own = "frontend > cart-pr-13 > pricing";
    let routed = path_from_outside(fixture, &[key]).await?;
    anyhow::ensure!(routed == own, "{routed}");
    fixture.path_becomes("after its time", &[key], &[own], BASELINE_PATH).await?;
    nothing_is_left(fixture).await
}

async fn nothing_is_left(fixture: &Fixture) -> anyhow::Result<()> {
    let is_gone = async |fixture: &Fixture| Ok(left(fixture).await?.is_empty());
    fixture.until("nothing is left", is_gone).await.map(drop)
}
