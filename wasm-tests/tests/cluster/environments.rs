//! What `up` and `down` say of a sandbox that is there already, and what a displaced `up` leaves. No Pod
//! runs here, so nothing is waited for.

mod meanwhile;

use std::fs;

use anyhow::Context as _;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;
use skycap::desired::istio::PluginKind;
use skycap_tests::fixture::{Fixture, interruption::Interrupted, manifests::sandbox, run};

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
        what_a_displaced_run_wrote_does_not_stay(fixture).await?;
        a_renamed_sandbox_is_named(fixture).await?;
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

/// What a run that was displaced still writes, when this one has the sandbox and has read what is there.
async fn what_a_displaced_run_wrote_does_not_stay(fixture: &Fixture) -> anyhow::Result<()> {
    let deployments = Api::<Deployment>::namespaced(fixture.cluster.client.clone(), "shop");
    let services = Api::<Service>::namespaced(fixture.cluster.client.clone(), "shop");
    let up = ["up", "pr-9", "-n", "shop", "--fork", "cart", "--no-wait"];
    let mut run = Interrupted::start(fixture, &up, 1).await?;
    anyhow::ensure!(run.is_cut_off().await?.is_none(), "it has nothing to write");
    let patch = Patch::Merge(json!({
        "metadata": {"labels": {"skycap.dev/revision": "other"}},
        "spec": {"minReadySeconds": 7},
    }));
    deployments.patch("cart-pr-9", &PatchParams::default(), &patch).await?;
    services.delete("cart-pr-9", &DeleteParams::default()).await?;
    run.come_back();
    anyhow::ensure!(run.ends().await?.success(), "it fails");
    let fork = deployments.get("cart-pr-9").await?;
    let revision = fork.labels().get("skycap.dev/revision");
    anyhow::ensure!(revision.is_some_and(|revision| revision != "other"), "{fork:?}");
    services.get("cart-pr-9").await?;
    let map =
        Api::<ConfigMap>::namespaced(fixture.cluster.client.clone(), "shop").get("pr-9").await?;
    anyhow::ensure!(map.data.is_some_and(|data| data["enabled"] == "true"), "it is not enabled");
    Ok(())
}

/// In a job of the same pull request, and in no other one.
async fn a_renamed_sandbox_is_named(fixture: &Fixture) -> anyhow::Result<()> {
    let in_job = async |name: &str, number: &str, repository: &str, flag: &str| {
        let label = format!("skycap.dev/pull-request={number}");
        let args = ["up", name, "-n", "shop", "--fork", "cart", "--label", &label, flag];
        let output = fixture.command(&args)?.env("GITHUB_REPOSITORY", repository).output().await?;
        anyhow::ensure!(output.status.success(), "{output:?}");
        anyhow::Ok(String::from_utf8(output.stdout)?)
    };
    in_job("old", "7", "acme/cart", "--no-wait").await?;
    fixture
        .skycap(&["sync", "--plugin", "WasmPlugin", "--module-url", "file:///skycap.wasm"])
        .await?;
    for (number, repository, is_told) in
        [("7", "acme/cart", true), ("8", "acme/cart", false), ("7", "acme/web", false)]
    {
        let said = in_job("new", number, repository, "--dry-run").await?;
        anyhow::ensure!(said.contains("`skycap down old -n shop`") == is_told, "{number}: {said}");
    }
    // In this cluster, nothing deletes what a ConfigMap owns.
    let said = fixture.skycap(&["down", "old", "-n", "shop", "--timeout", "0"]).await?;
    anyhow::ensure!(said.contains("still deletes deployment/"), "{said}");
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
