//! `skycap install` as a user runs it, and what a controller in Pods goes through.

mod clock;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, EvictParams, ListParams},
};
use serde_json::json;
use skycap::names::{APP_LABEL, CONTROLLER, NAMESPACE};
use skycap_tests::{
    cluster::Image,
    fixture::{
        Fixture,
        manifests::sandbox,
        pods::{BASELINE_PATH, Load, with_pods},
    },
    process::{process_ids_with, send_signal},
};

#[test]
fn a_pull_request_is_routed_by_injected_sidecars() -> anyhow::Result<()> {
    with_pods("install::a_pull_request_is_routed_by_injected_sidecars", async |fixture| {
        fixture.path_becomes("the shop", &[], &[], BASELINE_PATH).await?;
        a_pod_waits_forever(fixture).await?;
        skycap_is_installed(fixture).await?;
        fixture.add_workload("cart-pr-1").await?;
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        fixture.has_key("pr-1", true, "the sandbox").await?;
        // The edge is closed: the key of an outsider has no effect.
        fixture.path_becomes("a closed edge", &[KEY], &[], BASELINE_PATH).await?;
        fixture.open_edge().await?;
        fixture.path_becomes("an open edge", &[KEY], &[BASELINE_PATH], PR_1).await?;
        fixture.path_becomes("no key", &[], &[], BASELINE_PATH).await?;
        for command in [
            &["status"][..],
            &["check", "-A"],
            &["explain", "--to", "cart.shop:80", "-H", "baggage: sandbox=pr-1"],
        ] {
            println!("$ skycap {}\n{}", command.join(" "), fixture.skycap_status(command).await?);
        }
        let status = fixture.skycap(&["status"]).await?;
        for expected in ["5 of 5 sidecars are up to date", "its watches work"] {
            anyhow::ensure!(status.contains(expected), "not `{expected}`:\n{status}");
        }
        the_module_is_upgraded(fixture).await?;
        a_sidecar_starts_while_the_registry_is_down(fixture).await?;
        the_replicas_are_evicted(fixture).await?;
        the_leader_is_killed(fixture).await?;
        the_leader_is_deleted(fixture).await?;
        clock::the_clocks_jump(fixture).await?;
        skycap_is_uninstalled(fixture).await
    })
}

/// A Pod with a sidecar that no node takes. Nobody has to wait for it.
async fn a_pod_waits_forever(fixture: &Fixture) -> anyhow::Result<()> {
    let container = json!({"name": "app", "image": Image::reference("workload")});
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pending", "namespace": "shop"},
        "spec": {"nodeSelector": {"kubernetes.io/os": "none"}, "containers": [container]},
    });
    fixture.apply(&pod).await
}

/// For the first time, while requests run: Istio replaces the listeners of every proxy.
async fn skycap_is_installed(fixture: &Fixture) -> anyhow::Result<()> {
    let load = Load::start(fixture, &[]).await?;
    println!("{}", fixture.install_skycap().await?);
    load.stop().await?.check("while skycap was installed", &[BASELINE_PATH])
}

/// `install` with another module, while requests run.
async fn the_module_is_upgraded(fixture: &Fixture) -> anyhow::Result<()> {
    let load = Load::start(fixture, &[KEY]).await?;
    println!("{}", fixture.upgrade_module().await?);
    load.stop().await?.check("while the module was upgraded", &[PR_1])
}

/// Its requests go to the baseline, `status` says why, and what mends it.
async fn a_sidecar_starts_while_the_registry_is_down(fixture: &Fixture) -> anyhow::Result<()> {
    fixture.scale("default", "registry", 0).await?;
    fixture.add_workload("cart-pr-2").await?;
    let status = async |_: &Fixture| fixture.skycap_status(&["status", "-o", "json"]).await;
    let is_told = async |fixture: &Fixture| {
        Ok(status(fixture).await?.contains("the agent tries again when any sandbox changes"))
    };
    fixture.until("a sidecar without the module", is_told).await?;
    fixture.scale("default", "registry", 1).await?;
    // Its storage ended with its Pod.
    fixture.push_upgraded_module().await?;
    fixture.apply(&sandbox("pr-2", json!({"routes": "cart: cart-pr-2"}))).await?;
    let is_mended = async |fixture: &Fixture| {
        Ok(fixture.skycap_status(&["status"]).await?.contains("6 of 6 sidecars are up to date"))
    };
    let took = fixture.until("the agent fetches the module", is_mended).await?;
    println!("a sidecar without its module has it {} ms after a change", took.as_millis());
    Ok(())
}

/// As when its node is drained: the client repeats an eviction until the budget permits it.
async fn the_replicas_are_evicted(fixture: &Fixture) -> anyhow::Result<()> {
    let load = Load::start(fixture, &[KEY]).await?;
    let pods = Api::<Pod>::namespaced(fixture.cluster.client.clone(), NAMESPACE);
    fixture.is_available(NAMESPACE, CONTROLLER).await?;
    for pod in controllers(&pods).await? {
        pods.evict(&pod, &EvictParams::default()).await?;
    }
    changes_take_effect(fixture, "evicted").await?;
    load.stop().await?.check("while the controllers were evicted", &[PR_1])
}

/// As when it needs too much memory: it says nothing, so its term must end.
async fn the_leader_is_killed(fixture: &Fixture) -> anyhow::Result<()> {
    let load = Load::start(fixture, &[KEY]).await?;
    let name = format!("POD_NAME={}", fixture.leader().await?);
    let process = process_ids_with(&name)?.into_iter().next();
    send_signal("KILL", &process.context("the leader has no process")?)?;
    changes_take_effect(fixture, "killed").await?;
    load.stop().await?.check("while the leader was killed", &[PR_1])
}

/// Waits until a change is in the mesh, and until all replicas are there again.
async fn changes_take_effect(fixture: &Fixture, event: &str) -> anyhow::Result<()> {
    let key = format!("pr-{event}");
    fixture.apply(&sandbox(&key, json!({"routes": "cart: cart-pr-1"}))).await?;
    let took = fixture.has_key(&key, true, "a change").await?;
    println!("controller {event}: a change takes effect after {} ms", took.as_millis());
    fixture.is_available(NAMESPACE, CONTROLLER).await
}

/// The Pods of the controller that do not end.
async fn controllers(pods: &Api<Pod>) -> anyhow::Result<Vec<String>> {
    let of_controller = ListParams::default().labels(&format!("{APP_LABEL}={CONTROLLER}"));
    let pods = pods.list(&of_controller).await?;
    let stay = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    Ok(stay.map(ResourceExt::name_any).collect())
}

/// Another replica takes over, and no request is affected.
async fn the_leader_is_deleted(fixture: &Fixture) -> anyhow::Result<()> {
    let load = Load::start(fixture, &[KEY]).await?;
    let pods = Api::<Pod>::namespaced(fixture.cluster.client.clone(), NAMESPACE);
    for pod in controllers(&pods).await? {
        pods.delete(&pod, &DeleteParams::default()).await?;
    }
    fixture.apply(&sandbox("pr-9", json!({"routes": "cart: cart-pr-1"}))).await?;
    let took = fixture.has_key("pr-9", true, "a change after all replicas are gone").await?;
    println!("both controllers deleted: a change takes effect after {} ms", took.as_millis());
    fixture.is_available(NAMESPACE, CONTROLLER).await?;
    load.stop().await?.check("while the controllers were deleted", &[PR_1])
}

async fn skycap_is_uninstalled(fixture: &Fixture) -> anyhow::Result<()> {
    let load = Load::start(fixture, &[]).await?;
    println!("{}", fixture.skycap(&["uninstall"]).await?);
    fixture.path_becomes("uninstalled", &[KEY], &[PR_1], BASELINE_PATH).await?;
    load.stop().await?.check("without a key, while skycap is uninstalled", &[BASELINE_PATH])
}

const KEY: (&str, &str) = ("baggage", "sandbox=pr-1");
const PR_1: &str = "frontend > cart-pr-1 > pricing";
