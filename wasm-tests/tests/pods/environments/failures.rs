//! What cuts `up` short: a wrong image, a quota, another `up`, a kill at each of its writes.

use k8s_openapi::api::core::v1::ResourceQuota;
use kube::{Api, api::DeleteParams};
use serde_json::json;
use skycap_tests::fixture::{
    Fixture,
    pods::{BASELINE_PATH, path_from_outside},
};

use super::{PR_9, left, path};

pub(super) async fn a_wrong_image_is_named(fixture: &Fixture) -> anyhow::Result<()> {
    let up = [
        "up",
        "pr-9",
        "-n",
        "shop",
        "--fork",
        "cart",
        "--image",
        "registry.invalid/cart:2",
        "--timeout",
        "15s",
    ];
    let output = fixture.skycap_fails(&up, 1).await?;
    println!("$ skycap {}\n{output}", up.join(" "));
    anyhow::ensure!(output.contains("registry.invalid/cart:2"), "{output}");
    anyhow::ensure!(path(fixture).await? == BASELINE_PATH, "a broken fork is routed to");
    fixture.skycap(&["up", "pr-9", "-n", "shop", "--fork", "cart"]).await?;
    anyhow::ensure!(path(fixture).await? == PR_9, "not mended by another `up`");
    Ok(())
}

pub(super) async fn a_quota_is_named(fixture: &Fixture) -> anyhow::Result<()> {
    let quotas = Api::<ResourceQuota>::namespaced(fixture.cluster.client.clone(), "shop");
    fixture
        .apply(&json!({
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "pods", "namespace": "shop"},
            "spec": {"hard": {"pods": "5"}},
        }))
        .await?;
    let up =
        ["up", "pr-10", "-n", "shop", "--fork", "cart", "--fork", "pricing", "--timeout", "8s"];
    let output = fixture.skycap_fails(&up, 1).await?;
    println!("$ skycap {}\n{output}", up.join(" "));
    anyhow::ensure!(output.contains("exceeded quota"), "{output}");
    quotas.delete("pods", &DeleteParams::default()).await?;
    fixture.skycap(&["down", "pr-10", "-n", "shop"]).await?;
    Ok(())
}

/// The one that began last; the other says so.
pub(super) async fn one_of_two_wins(fixture: &Fixture) -> anyhow::Result<()> {
    let up = |level: &'static str| {
        let patch = format!(
            "sandbox: pr-11\nnamespace: shop\nforks: {{cart: {{env: {{LEVEL: {level}}}}}}}\n"
        );
        async move {
            let file = tempfile::NamedTempFile::new()?;
            std::fs::write(file.path(), patch)?;
            fixture.run_skycap(&["up", "-f", &file.path().to_string_lossy()]).await
        }
    };
    let (one, other) = tokio::join!(up("one"), up("other"));
    let (one, other) = (one?, other?);
    println!("two at once: {:?} and {:?}", one.status, other.status);
    let lost = if one.status.success() { &other } else { &one };
    let said = String::from_utf8_lossy(&lost.stderr);
    anyhow::ensure!(one.status.success() != other.status.success(), "{one:?}\n{other:?}");
    anyhow::ensure!(said.contains("at the same time"), "{said}");
    fixture.skycap(&["down", "pr-11", "-n", "shop"]).await?;
    Ok(())
}

/// After each write at which `up` can be killed, another `up` or a `down` leaves what it should.
pub(super) async fn every_interruption_is_mended(fixture: &Fixture) -> anyhow::Result<()> {
    let up = ["up", "pr-12", "-n", "shop", "--fork", "cart"];
    let sandbox = &[("baggage", "sandbox=pr-12")];
    for writes in 1.. {
        if let Some(status) = fixture.interrupt(&up, writes).await? {
            anyhow::ensure!(status.success(), "`up` without an interruption: {status}");
            anyhow::ensure!(writes > 3, "`up` has only {writes} writes");
            break;
        }
        let routed = path_from_outside(fixture, sandbox).await?;
        anyhow::ensure!(
            [BASELINE_PATH, PR_12].contains(&routed.as_str()),
            "killed after {writes} writes: {routed}"
        );
        println!("killed after {writes} writes: {:?}", left(fixture).await?);
        if writes % 2 == 0 {
            fixture.skycap(&up).await?;
            let routed = path_from_outside(fixture, sandbox).await?;
            anyhow::ensure!(routed == PR_12, "mended after {writes} writes: {routed}");
        }
        fixture.skycap(&["down", "pr-12", "-n", "shop"]).await?;
        let left: Vec<_> =
            left(fixture).await?.into_iter().filter(|one| one.contains("pr-12")).collect();
        anyhow::ensure!(left.is_empty(), "left after {writes} writes: {left:?}");
    }
    fixture.skycap(&["down", "pr-12", "-n", "shop"]).await?;
    Ok(())
}

const PR_12: &str = "frontend > cart-pr-12 > pricing";
