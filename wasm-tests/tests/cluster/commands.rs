//! The command on a real API server, from install to uninstall, as its users run it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};
use skycap::{
    desired::istio::PluginKind,
    names::{MANAGED_BY, MANAGER},
    objects::{Object, ObjectRef, reference_of, resource},
    observed::api,
};
use skycap_tests::{
    cluster::Controller,
    fixture::{
        Fixture,
        manifests::{endpoints, sandbox, service},
        run, run_without_skycap,
    },
};

#[test]
fn from_install_to_uninstall() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        install_is_idempotent(fixture).await?;
        sync_writes_once(fixture).await?;
        let controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        fixture.until("a leader", async |_| controller.leads().await).await?;
        let status = fixture.skycap_status(&["status", "-o", "json"]).await?;
        let status: Value = serde_json::from_str(&status)?;
        anyhow::ensure!(status["summary"]["enabled"] == true, "{status}");
        anyhow::ensure!(status["controller"]["holder"] == "one", "{status}");
        let compiled = &status["summary"]["generation"];
        anyhow::ensure!(status["plugin"]["generation"] == *compiled, "{status}");
        a_sandbox_is_disabled_and_enabled(fixture).await?;
        everything_is_disabled_and_enabled(fixture).await?;
        check_finds_a_missing_service(fixture).await?;
        uninstall_keeps_fragments(fixture).await
    })
}

/// The fixture has applied the objects with another field manager: `install` takes them over.
async fn install_is_idempotent(fixture: &Fixture) -> anyhow::Result<()> {
    let deployment = "Deployment skycap-system/skycap-controller";
    let install = ["install", "--plugin", "WasmPlugin", "--image", "skycap:test"];
    let install = [&install[..], &["--module-url", "file:///skycap.wasm"]].concat();
    let plan = fixture.skycap(&[&install[..], &["--dry-run"]].concat()).await?;
    anyhow::ensure!(plan.contains(deployment) && plan.contains("image: skycap:test"), "{plan}");
    let done = fixture.skycap(&[&install[..], &["--wait", "0"]].concat()).await?;
    anyhow::ensure!(done == plan, "the plan was\n{plan}\nand the run did\n{done}");
    let again = fixture.skycap(&[&install[..], &["--wait", "0"]].concat()).await?;
    anyhow::ensure!(again == "nothing to change\n", "{again}");
    // The Deployment is available, but no controller runs.
    fixture.become_available().await?;
    let waiting = fixture.skycap_fails(&[&install[..], &["--wait", "2"]].concat(), 1).await?;
    anyhow::ensure!(waiting.contains("no table yet"), "{waiting}");
    Ok(())
}

async fn sync_writes_once(fixture: &Fixture) -> anyhow::Result<()> {
    fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
    let sync = ["sync", "--plugin", "WasmPlugin", "--module-url", "file:///skycap.wasm"];
    let plan = fixture.skycap(&[&sync[..], &["--dry-run"]].concat()).await?;
    anyhow::ensure!(plan.contains("WasmPlugin istio-system/skycap"), "{plan}");
    anyhow::ensure!(fixture.plugin().await?.is_none(), "a dry run has written the plugin");
    fixture.skycap(&sync).await?;
    fixture.is_settled("after sync").await?;
    let again = fixture.skycap(&sync).await?;
    anyhow::ensure!(again == "nothing to change\n", "{again}");
    Ok(())
}

async fn a_sandbox_is_disabled_and_enabled(fixture: &Fixture) -> anyhow::Result<()> {
    fixture.skycap(&["disable", "pr-1", "-n", "shop"]).await?;
    fixture.has_key("pr-1", false, "disabled").await?;
    let list = fixture.skycap(&["list", "-n", "shop"]).await?;
    let row = list.lines().find(|line| line.contains("shop/pr-1")).unwrap_or_default();
    anyhow::ensure!(row.contains("disabled"), "{list}");
    let explain = ["explain", "--to", "cart.shop:80"];
    let header = ["-H", "baggage: sandbox=pr-1"];
    let why = fixture.skycap(&[&explain[..], &header[..]].concat()).await?;
    anyhow::ensure!(why.contains("`skycap enable pr-1 -n shop`"), "{why}");
    fixture.skycap(&["enable", "pr-1", "-n", "shop"]).await?;
    fixture.has_key("pr-1", true, "enabled").await?;
    let wrong = fixture.skycap_fails(&["enable", "missing", "-n", "shop"], 2).await?;
    anyhow::ensure!(wrong.contains("`shop/missing`"), "{wrong}");
    Ok(())
}

async fn everything_is_disabled_and_enabled(fixture: &Fixture) -> anyhow::Result<()> {
    for (command, enabled, word) in [("disable", false, "OFF"), ("enable", true, "on")] {
        fixture.skycap(&[command, "--all"]).await?;
        let is_set = async |fixture: &Fixture| Ok(fixture.table().await?.enabled == enabled);
        fixture.until(&format!("{command} --all"), is_set).await?;
        let is_told = async |fixture: &Fixture| {
            let status = fixture.skycap_status(&["status"]).await?;
            let row = status.lines().find(|line| line.starts_with("routing"));
            Ok(row.is_some_and(|row| row.split([' ', ':', ',']).any(|part| part == word)))
        };
        fixture.until(&format!("`skycap status` after {command} --all"), is_told).await?;
    }
    Ok(())
}

async fn check_finds_a_missing_service(fixture: &Fixture) -> anyhow::Result<()> {
    let check = fixture.skycap_fails(&["check", "-n", "shop"], 1).await?;
    anyhow::ensure!(check.contains("`cart`") && check.contains("shop/pr-1"), "{check}");
    for name in ["cart", "cart-pr-1"] {
        fixture.apply(&service(name)).await?;
        fixture.apply(&endpoints(name, true)).await?;
    }
    fixture.skycap(&["check", "-n", "shop"]).await?;
    Ok(())
}

/// First, `uninstall` removes the controller's permissions: then it cannot write anything back.
async fn uninstall_keeps_fragments(fixture: &Fixture) -> anyhow::Result<()> {
    let plan = fixture.skycap(&["uninstall"]).await?;
    let first = plan.lines().next().unwrap_or_default();
    anyhow::ensure!(first.contains("ClusterRoleBinding skycap-controller"), "{plan}");
    fixture.nothing_is_left().await?;
    let maps = Api::<ConfigMap>::namespaced(fixture.cluster.client.clone(), "shop");
    anyhow::ensure!(maps.get_opt("pr-1").await?.is_some(), "the user's fragment is gone");
    Ok(())
}

/// `render` prints the objects that `install` leaves in the cluster: each with all fields that were
/// printed, and no others.
#[test]
fn render_prints_what_install_applies() -> anyhow::Result<()> {
    run_without_skycap(PluginKind::TrafficExtension, async |fixture: &mut Fixture| {
        let flags = [
            ["--plugin", "TrafficExtension"],
            ["--image", "skycap:test"],
            ["--module-url", "file:///skycap.wasm"],
        ]
        .concat();
        let text = fixture.skycap(&[&["render"], &flags[..]].concat()).await?;
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text)?;
        let rendered: Vec<_> = documents.into_iter().map(Object::new).collect::<Result<_, _>>()?;
        let kinds = rendered.iter().map(|object| object.reference().kind);
        let kinds: BTreeMap<_, usize> = kinds.fold(BTreeMap::new(), |mut kinds, kind| {
            *kinds.entry(kind).or_default() += 1;
            kinds
        });
        for (kind, count) in [("Deployment", 1), ("ClusterRole", 2), ("Role", 4), ("Namespace", 1)]
        {
            anyhow::ensure!(kinds.get(kind) == Some(&count), "{kinds:?}");
        }
        let install = [&["install"], &flags[..], &["--wait", "0"]].concat();
        fixture.skycap(&install).await?;
        let references: Vec<_> = rendered.iter().map(Object::reference).collect();
        let live = api::read(&fixture.cluster.client, &references).await?;
        for object in &rendered {
            let reference = object.reference();
            let live = live.get(&reference);
            anyhow::ensure!(
                live.is_some_and(|live| object.is_in_place(live)),
                "{reference} was rendered as {object:?} and installed as {live:?}"
            );
        }
        let extra: Vec<_> = owned_of_same_kinds(fixture, &references).await?;
        let extra: Vec<_> = extra.iter().filter(|one| !references.contains(one)).collect();
        anyhow::ensure!(extra.is_empty(), "installed, but not rendered: {extra:?}");
        Ok(())
    })
}

/// skycap's objects of the kinds of these.
async fn owned_of_same_kinds(
    fixture: &Fixture,
    references: &[ObjectRef],
) -> anyhow::Result<Vec<ObjectRef>> {
    let mut owned = Vec::new();
    let label = format!("{MANAGED_BY}={MANAGER}");
    for ObjectRef { api_version, kind, .. } in references {
        let api: Api<kube::core::DynamicObject> =
            Api::all_with(fixture.cluster.client.clone(), &resource(api_version, kind));
        for mut object in api.list(&ListParams::default().labels(&label)).await? {
            object.types =
                Some(kube::core::TypeMeta { api_version: api_version.clone(), kind: kind.clone() });
            owned.push(reference_of(&object));
        }
    }
    Ok(owned)
}
