//! The life of an environment: `skycap up`, `down`, and every way in which one of them is cut short.

use std::time::Instant;

use k8s_openapi::api::{
    core::v1::ResourceQuota, discovery::v1::EndpointSlice, policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams},
    core::DynamicObject,
};
use serde_json::json;
use skycap::{
    environment::{labels::SANDBOX_LABEL, summary::Summary},
    objects::resource,
};
use skycap_tests::{
    cluster::Image,
    fixture::{
        Fixture,
        pods::{BASELINE_PATH, Load, with_pods},
    },
};

#[test]
fn an_environment_is_opened_updated_interrupted_and_closed() -> anyhow::Result<()> {
    let name = "environments::an_environment_is_opened_updated_interrupted_and_closed";
    with_pods(name, async |fixture| {
        fixture.install_skycap().await?;
        fixture.open_edge().await?;
        fixture.apply(&budget()).await?;
        let load = Load::start(fixture, &[]).await?;
        it_opens(fixture).await?;
        it_changes(fixture).await?;
        a_wrong_image_is_named(fixture).await?;
        a_quota_is_named(fixture).await?;
        one_of_two_wins(fixture).await?;
        every_interruption_is_mended(fixture).await?;
        it_closes(fixture).await?;
        load.stop().await?.check("the baseline all the time", &[BASELINE_PATH])
    })
}

async fn it_opens(fixture: &Fixture) -> anyhow::Result<()> {
    let before = baseline(fixture).await?;
    let begun = Instant::now();
    let output =
        fixture.skycap(&["up", "pr-9", "-n", "shop", "--fork", "cart", "--ttl", "72h"]).await?;
    println!("$ skycap up pr-9 -n shop --fork cart --ttl 72h\n{output}");
    println!("up, until served: {} ms", begun.elapsed().as_millis());
    // No patience: `up` has waited.
    anyhow::ensure!(path(fixture).await? == PR_9, "{} after `up`", path(fixture).await?);
    anyhow::ensure!(before == baseline(fixture).await?, "the baseline has changed: {before:?}");
    let list = fixture.skycap(&["list", "-n", "shop"]).await?;
    println!("$ skycap list -n shop\n{list}");
    anyhow::ensure!(list.contains("cart -> cart-pr-9"), "{list}");
    Ok(())
}

/// From a file, with another workload in the place of the first one.
async fn it_changes(fixture: &Fixture) -> anyhow::Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    let path_of_file = file.path().to_string_lossy().into_owned();
    let text =
        "sandbox: pr-${PR}\nnamespace: shop\nttl: 1h\nforks:\n  pricing: {image: '${IMAGE}'}\n";
    std::fs::write(file.path(), text)?;
    let image = format!("IMAGE={}", Image::reference("workload"));
    let up = ["up", "-f", &path_of_file, "--set", "PR=9", "--set", &image, "-o", "json"];
    let summary: Summary = serde_json::from_str(&fixture.skycap(&up).await?)?;
    println!("{summary:#?}");
    anyhow::ensure!(summary.error.is_none() && summary.forks.iter().all(|fork| fork.ready));
    let expected = "frontend > cart > pricing-pr-9";
    anyhow::ensure!(path(fixture).await? == expected, "{}", path(fixture).await?);
    fixture
        .until("the first fork is gone", async |fixture| {
            Ok(!left(fixture).await?.iter().any(|name| name.contains("cart-pr-9")))
        })
        .await?;
    // And back, for the rest of the test.
    fixture.skycap(&["up", "pr-9", "-n", "shop", "--fork", "cart"]).await?;
    let generation = generation(fixture).await?;
    fixture.skycap(&["up", "pr-9", "-n", "shop", "--fork", "cart"]).await?;
    anyhow::ensure!(self::generation(fixture).await? == generation, "`up` changed what was right");
    Ok(())
}

async fn a_wrong_image_is_named(fixture: &Fixture) -> anyhow::Result<()> {
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

async fn a_quota_is_named(fixture: &Fixture) -> anyhow::Result<()> {
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
async fn one_of_two_wins(fixture: &Fixture) -> anyhow::Result<()> {
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
async fn every_interruption_is_mended(fixture: &Fixture) -> anyhow::Result<()> {
    let up = ["up", "pr-12", "-n", "shop", "--fork", "cart"];
    let sandbox = &[("baggage", "sandbox=pr-12")];
    for writes in 1.. {
        if let Some(status) = fixture.interrupt(&up, writes).await? {
            anyhow::ensure!(status.success(), "`up` without an interruption: {status}");
            anyhow::ensure!(writes > 3, "`up` has only {writes} writes");
            break;
        }
        let routed = skycap_tests::fixture::pods::path_from_outside(fixture, sandbox).await?;
        anyhow::ensure!(
            [BASELINE_PATH, PR_12].contains(&routed.as_str()),
            "killed after {writes} writes: {routed}"
        );
        println!("killed after {writes} writes: {:?}", left(fixture).await?);
        if writes % 2 == 0 {
            fixture.skycap(&up).await?;
            let routed = skycap_tests::fixture::pods::path_from_outside(fixture, sandbox).await?;
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

async fn it_closes(fixture: &Fixture) -> anyhow::Result<()> {
    let begun = Instant::now();
    println!("{}", fixture.skycap(&["down", "pr-9", "-n", "shop"]).await?);
    println!("down, until nothing is left: {} ms", begun.elapsed().as_millis());
    let left = left(fixture).await?;
    anyhow::ensure!(left.is_empty(), "left: {left:?}");
    anyhow::ensure!(path(fixture).await? == BASELINE_PATH, "the key still has an effect");
    fixture.skycap(&["down", "pr-9", "-n", "shop"]).await?;
    Ok(())
}

async fn path(fixture: &Fixture) -> anyhow::Result<String> {
    skycap_tests::fixture::pods::path_from_outside(fixture, &[KEY]).await
}

/// What the baseline has that a fork must not change: its endpoints, and its disruption budget.
async fn baseline(fixture: &Fixture) -> anyhow::Result<(Vec<String>, Option<i32>)> {
    let client = &fixture.cluster.client;
    let slices = Api::<EndpointSlice>::namespaced(client.clone(), "shop");
    let slices =
        slices.list(&ListParams::default().labels("kubernetes.io/service-name=cart")).await?;
    let addresses = slices
        .into_iter()
        .flat_map(|slice| slice.endpoints.into_iter().flatten())
        .flat_map(|one| one.addresses);
    let budgets = Api::<PodDisruptionBudget>::namespaced(client.clone(), "shop");
    let expected = budgets.get("cart").await?.status.and_then(|status| status.expected_pods);
    Ok((addresses.collect(), expected))
}

/// The objects of sandboxes in the namespace.
async fn left(fixture: &Fixture) -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    for (api_version, kind) in [
        ("v1", "ConfigMap"),
        ("v1", "Service"),
        ("apps/v1", "Deployment"),
        ("apps/v1", "ReplicaSet"),
        ("v1", "Pod"),
    ] {
        let client = fixture.cluster.client.clone();
        let api =
            Api::<DynamicObject>::namespaced_with(client, "shop", &resource(api_version, kind));
        let label = if kind == "ConfigMap" { "skycap.dev/kind" } else { SANDBOX_LABEL };
        let list = api.list(&ListParams::default().labels(label)).await?;
        left.extend(list.iter().map(|object| format!("{kind} {}", object.name_any())));
    }
    Ok(left)
}

async fn generation(fixture: &Fixture) -> anyhow::Result<Option<i64>> {
    let client = fixture.cluster.client.clone();
    let api =
        Api::<DynamicObject>::namespaced_with(client, "shop", &resource("apps/v1", "Deployment"));
    Ok(api.get("cart-pr-9").await?.metadata.generation)
}

fn budget() -> serde_json::Value {
    json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "cart", "namespace": "shop"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "cart"}}},
    })
}

const KEY: (&str, &str) = ("baggage", "sandbox=pr-9");
const PR_9: &str = "frontend > cart-pr-9 > pricing";
const PR_12: &str = "frontend > cart-pr-12 > pricing";
