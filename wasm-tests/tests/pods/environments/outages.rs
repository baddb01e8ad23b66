//! What an environment stands on goes away: the API server for a while, a namespace for ever.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{Api, api::DeleteParams};
use skycap_tests::fixture::{
    Fixture,
    interruption::Interrupted,
    pods::{BASELINE_PATH, path_from_outside},
};

/// Once between two writes, and once while `up` waits for its fork.
pub(super) async fn the_api_server_is_away(fixture: &mut Fixture) -> anyhow::Result<()> {
    let up = ["up", "pr-14", "-n", "shop", "--fork", "cart"];
    let mut command = Interrupted::start(fixture, &up, 2).await?;
    anyhow::ensure!(command.is_cut_off().await?.is_none(), "`up` was not cut off");
    fixture.cluster.kill_apiserver().await?;
    command.come_back();
    println!("{}", command.says("trying again").await?);
    fixture.cluster.start_apiserver().await?;
    command.says("cart-pr-14: ").await?;
    fixture.cluster.kill_apiserver().await?;
    println!("{}", command.says("trying again").await?);
    fixture.cluster.start_apiserver().await?;
    let status = command.ends().await?;
    anyhow::ensure!(status.success(), "`up` after two absences: {status}");
    let routed = path_from_outside(fixture, &[("baggage", "sandbox=pr-14")]).await?;
    anyhow::ensure!(routed == "frontend > cart-pr-14 > pricing", "{routed}");
    fixture.skycap(&["down", "pr-14", "-n", "shop"]).await?;
    Ok(())
}

/// A namespace with a sandbox is deleted. It takes a while to be gone.
pub(super) async fn its_namespace_is_deleted(fixture: &Fixture) -> anyhow::Result<()> {
    fixture.add_namespace(BRANCH, "pricing").await?;
    fixture.skycap(&["up", "pr-15", "-n", BRANCH, "--fork", "pricing"]).await?;
    fixture.has_key("pr-15", true, "a sandbox of another namespace").await?;
    let namespaces = Api::<Namespace>::all(fixture.cluster.client.clone());
    namespaces.delete(BRANCH, &DeleteParams::default()).await?;
    let up = |name| ["up", name, "-n", BRANCH, "--fork", "pricing"];
    is_refused(fixture, &up("pr-16")).await?;
    let maps = Api::<ConfigMap>::namespaced(fixture.cluster.client.clone(), BRANCH);
    let is_gone = async |_: &Fixture| Ok(maps.get_opt("pr-15").await?.is_none());
    fixture.until("its sandbox is gone", is_gone).await?;
    is_refused(fixture, &up("pr-15")).await?;
    println!("{}", fixture.skycap(&["down", "pr-15", "-n", BRANCH]).await?);
    fixture.has_key("pr-15", false, "its namespace is deleted").await?;
    Ok(())
}

async fn is_refused(fixture: &Fixture, up: &[&str]) -> anyhow::Result<()> {
    let said = fixture.skycap_fails(up, 1).await?;
    println!("$ skycap {}\n{said}", up.join(" "));
    // It may be gone by now.
    let is_clear = ["wait until it is gone", "not found; check"].iter().any(|it| said.contains(it));
    anyhow::ensure!(is_clear && !said.contains("administrator"), "{said}");
    Ok(())
}

/// Nothing remembers it.
pub(super) async fn its_namespace_is_gone(fixture: &Fixture) -> anyhow::Result<()> {
    let namespaces = Api::<Namespace>::all(fixture.cluster.client.clone());
    let is_gone = async |_: &Fixture| Ok(namespaces.get_opt(BRANCH).await?.is_none());
    fixture.until("the namespace is gone", is_gone).await?;
    let (status, list) =
        (fixture.skycap(&["status"]).await?, fixture.skycap(&["list", "-A"]).await?);
    anyhow::ensure!(!status.contains(BRANCH) && !list.contains(BRANCH), "{status}\n{list}");
    println!("{}", fixture.skycap(&["down", "pr-15", "-n", BRANCH]).await?);
    let up = ["up", "pr-15", "-n", BRANCH, "--fork", "pricing"];
    let said = fixture.skycap_fails(&up, 1).await?;
    anyhow::ensure!(said.contains("namespace `branch` not found"), "{said}");
    let routed = path_from_outside(fixture, &[("baggage", "sandbox=pr-15")]).await?;
    anyhow::ensure!(routed == BASELINE_PATH, "{routed}");
    Ok(())
}

const BRANCH: &str = "branch";
