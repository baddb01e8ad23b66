//! The life of an environment: `skycap up`, `down`, and every way in which one of them is cut short.

mod ends;
mod failures;
mod outages;

use std::time::Instant;

use k8s_openapi::api::{discovery::v1::EndpointSlice, policy::v1::PodDisruptionBudget};
use kube::{Api, ResourceExt as _, api::ListParams, core::DynamicObject};
use regex::Regex;
use serde_json::json;
use skycap::{
    environment::{labels::SANDBOX_LABEL, summary::Summary},
    objects::resource,
};
use skycap_tests::{
    cluster::Image,
    fixture::{
        Fixture,
        manifests::fragment,
        pods::{BASELINE_PATH, Load, path_from_outside, with_pods},
    },
    workspace,
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
        two_repositories_share_one(fixture).await?;
        it_changes(fixture).await?;
        failures::a_wrong_image_is_named(fixture).await?;
        failures::a_quota_is_named(fixture).await?;
        failures::one_of_two_wins(fixture).await?;
        outages::its_namespace_is_deleted(fixture).await?;
        failures::every_interruption_is_mended(fixture).await?;
        outages::the_api_server_is_away(fixture).await?;
        outages::its_namespace_is_gone(fixture).await?;
        ends::it_crashes(fixture).await?;
        ends::it_closes(fixture).await?;
        ends::its_config_map_is_deleted(fixture).await?;
        ends::its_time_is_over(fixture).await?;
        load.stop().await?.check("the baseline all the time", &[BASELINE_PATH])
    })
}

/// With the file of `deploy/examples`, as the README shows it.
async fn it_opens(fixture: &Fixture) -> anyhow::Result<()> {
    let before = baseline(fixture).await?;
    let file = workspace::root().join("deploy/examples/skycap.yaml");
    let image = format!("IMAGE={}", Image::reference("cart"));
    let begun = Instant::now();
    let up = ["up", "-f", &file.to_string_lossy(), "--set", "PR=9", "--set", &image];
    let output = fixture.skycap(&up).await?;
    println!("up, until served: {} ms", begun.elapsed().as_millis());
    // No patience: `up` has waited.
    anyhow::ensure!(path(fixture).await? == PR_9, "{} after `up`", path(fixture).await?);
    anyhow::ensure!(before == baseline(fixture).await?, "the baseline has changed: {before:?}");
    shown("up.txt", &output)?;
    shown("list.txt", &fixture.skycap(&["list", "-n", "shop"]).await?)?;
    let curl = r#"curl -s $SKYCAP_URL_FRONTEND/ | grep -o '"path":[^]]*]'"#;
    let test = ["test", "pr-9", "-n", "shop", "--forward", "frontend", "--", "sh", "-c", curl];
    shown("test.txt", &format!("{}\n", fixture.skycap(&test).await?.trim_end()))
}

/// Compares with a file in `tests/data`, without what differs between two runs. `UPDATE=1` writes it.
fn shown(file: &str, text: &str) -> anyhow::Result<()> {
    let text = text.replace(&Image::reference("cart"), "registry.example.com/cart:abc123");
    let text = Regex::new(r"until \S+Z")?.replace_all(&text, "until 2026-12-02T09:30:00Z");
    let text = Regex::new(r" \d+s  ")?.replace_all(&text, " 6s  ").into_owned();
    let path = workspace::root().join("wasm-tests/tests/data").join(file);
    println!("{text}");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text)?;
    }
    let kept = std::fs::read_to_string(&path)?;
    anyhow::ensure!(text == kept, "not as in {}; `UPDATE=1` writes it\n{text}", path.display());
    Ok(())
}

/// Each with a sandbox of its own and the same label: a group has both.
async fn two_repositories_share_one(fixture: &Fixture) -> anyhow::Result<()> {
    let up = ["up", "pr-20", "-n", "shop", "--fork", "pricing", "--label", "release=42"];
    fixture.skycap(&up).await?;
    fixture.apply(&fragment("group", "release-42", json!({"match": "release=42"}))).await?;
    let key = ("baggage", "sandbox=release-42");
    let both = "frontend > cart-pr-9 > pricing-pr-20";
    // One sidecar may have the new table before another.
    let pricing = "frontend > cart > pricing-pr-20";
    fixture.path_becomes("a group of both", &[key], &[BASELINE_PATH, PR_9, pricing], both).await?;
    fixture.skycap(&["down", "pr-20", "-n", "shop"]).await?;
    // The group goes on with what is left of it.
    fixture.path_becomes("a group of one", &[key], &[both, BASELINE_PATH, pricing], PR_9).await?;
    fixture.delete_object(&fragment("group", "release-42", json!({}))).await?;
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

async fn path(fixture: &Fixture) -> anyhow::Result<String> {
    path_from_outside(fixture, &[KEY]).await
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
