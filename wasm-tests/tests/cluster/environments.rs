//! What `up` and `down` say of a sandbox that is there already, and what two `up` at once leave. No Pod
//! runs here, so nothing is waited for.

use std::fs;

use anyhow::Context as _;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use skycap::desired::istio::PluginKind;
use skycap_tests::fixture::{Fixture, manifests::sandbox, run};

use super::rights::shop::shop;

#[test]
fn a_sandbox_that_is_there() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        for object in shop() {
            fixture.apply(&object).await?;
        }
        let sync = ["sync", "--plugin", "WasmPlugin", "--module-url", "file:///skycap.wasm"];
        fixture.skycap(&sync).await?;
        what_would_go_is_shown(fixture).await?;
        what_the_api_server_refuses_is_told(fixture).await?;
        one_of_two_counts_as_a_whole(fixture).await?;
        by_hand_it_goes_alone(fixture).await
    })
}

async fn what_would_go_is_shown(fixture: &Fixture) -> anyhow::Result<()> {
    let first =
        "ttl: 72h\nlabels: {team: payments}\nforks: {cart: {env: {A: '1'}}, statefulset/db: {}}";
    let created = up(fixture, first, &["--dry-run"]).await?;
    let expected = ["create ConfigMap shop/pr-9", "create Deployment shop/cart-pr-9"];
    anyhow::ensure!(expected.iter().all(|line| created.contains(line)), "{created}");
    anyhow::ensure!(!created.contains("unchanged"), "{created}");
    let maps = Api::<ConfigMap>::namespaced(fixture.cluster.client.clone(), "shop");
    anyhow::ensure!(maps.get_opt("pr-9").await?.is_none(), "a dry run has written");
    up(fixture, first, &[]).await?;
    let before = maps.get("pr-9").await?.resource_version();
    let then = up(fixture, "forks: {cart: {}}", &["--dry-run"]).await?;
    println!("{then}");
    for line in ["-  expires: ", "-    team: payments", "-        - name: A", "delete StatefulSet"]
    {
        anyhow::ensure!(then.contains(line), "no `{line}`: {then}");
    }
    anyhow::ensure!(maps.get("pr-9").await?.resource_version() == before, "it has written");
    let again = up(fixture, first, &[]).await?;
    println!("{again}");
    let unchanged = again.lines().filter(|line| line.ends_with("  unchanged")).count();
    anyhow::ensure!(unchanged == 4, "{again}");
    up(fixture, "forks: {cart: {}}", &[]).await?;
    let nothing = up(fixture, "forks: {cart: {}}", &["--dry-run"]).await?;
    anyhow::ensure!(nothing.ends_with("nothing to change\n"), "{nothing}");
    Ok(())
}

async fn what_the_api_server_refuses_is_told(fixture: &Fixture) -> anyhow::Result<()> {
    let requests = "{containers: [{name: cart, resources: {requests: {cpu: many}}}]}";
    let file = format!("forks: {{cart: {{patch: {{spec: {{template: {{spec: {requests}}}}}}}}}}}");
    let refused = up(fixture, &file, &["--dry-run"]).await;
    let said = refused.err().context("an invalid quantity is taken")?.to_string();
    anyhow::ensure!(said.contains("cannot write Deployment shop/cart-pr-9"), "{said}");
    Ok(())
}

/// Whoever wins, what the other one was writing does not stay.
async fn one_of_two_counts_as_a_whole(fixture: &Fixture) -> anyhow::Result<()> {
    let client = &fixture.cluster.client;
    let maps = Api::<ConfigMap>::namespaced(client.clone(), "shop");
    let deployments = Api::<Deployment>::namespaced(client.clone(), "shop");
    for round in 0..8 {
        let file = |level: &str| {
            format!(
                "labels: {{level: {level}-{round}}}\nforks: {{cart: {{env: {{LEVEL: {level}-{round}}}}}}}"
            )
        };
        let (one, other) = (file("one"), file("other"));
        let (one, other) = tokio::join!(up(fixture, &one, &[]), up(fixture, &other, &[]));
        anyhow::ensure!(one.is_ok() || other.is_ok(), "{one:?}, {other:?}");
        let map = maps.get("pr-9").await?;
        let level = map.labels().get("level").context("no label")?;
        let fork = serde_json::to_value(deployments.get("cart-pr-9").await?)?;
        let env = &fork["spec"]["template"]["spec"]["containers"][0]["env"];
        let has_level =
            env.as_array().is_some_and(|env| env.iter().any(|one| one["value"] == **level));
        anyhow::ensure!(has_level, "round {round}: the ConfigMap has {level}, the fork {env}");
        let enabled = map.data.unwrap_or_default().get("enabled").cloned();
        anyhow::ensure!(enabled.as_deref() == Some("true"), "round {round}: {one:?}, {other:?}");
    }
    Ok(())
}

async fn by_hand_it_goes_alone(fixture: &Fixture) -> anyhow::Result<()> {
    fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-by-hand"}))).await?;
    let output = fixture.run_skycap(&["down", "pr-1", "-n", "shop"]).await?;
    let said = String::from_utf8(output.stderr)?;
    anyhow::ensure!(output.status.success(), "{said}");
    anyhow::ensure!(said.contains("(cart-by-hand)") && said.contains("stay"), "{said}");
    Ok(())
}

/// `up --no-wait` of pr-9 with this rest of its file. Returns its stdout.
async fn up(fixture: &Fixture, rest: &str, flags: &[&str]) -> anyhow::Result<String> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), format!("sandbox: pr-9\nnamespace: shop\n{rest}\n"))?;
    let path = file.path().to_string_lossy();
    let args = [&["up", "-f", &*path, "--no-wait"], flags].concat();
    let output = fixture.run_skycap(&args).await?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
