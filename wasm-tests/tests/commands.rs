//! The command on a real API server: from install to uninstall, as its users run it.

mod kubernetes;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kubernetes::{Fixture, endpoints, install_profiles, run, run_on, sandbox, service};
use serde_json::json;
use skycap::{
    desired::{installation::Installation, istio::PluginKind},
    objects::Object,
    observed::snapshot,
    table::meshes::{MeshKind, Meshes},
};
use skycap_tests::cluster::Controller;

#[test]
fn from_install_to_uninstall() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        // The fixture has installed it as another would; install takes over, and is idempotent.
        let install = ["install", "--plugin", "WasmPlugin", "--image", "skycap:test"];
        let url = ["--module-url", "file:///skycap.wasm"];
        let args = [&install[..], &url[..]].concat();
        let plan = fixture.skycap(&[&args[..], &["--dry-run"]].concat()).await?;
        anyhow::ensure!(
            plan.starts_with("change  Deployment skycap-system/skycap-controller"),
            "{plan}"
        );
        anyhow::ensure!(plan.contains("image: skycap:test"), "{plan}");
        let done = fixture.skycap(&[&args[..], &["--wait", "0"]].concat()).await?;
        anyhow::ensure!(done == plan, "the plan was\n{plan}\nand what was done\n{done}");
        let again = fixture.skycap(&[&args[..], &["--wait", "0"]].concat()).await?;
        anyhow::ensure!(again == "nothing to change\n", "{again}");
        fixture.become_available().await?;
        let waiting = fixture.skycap_fails(&[&args[..], &["--wait", "2"]].concat(), 1).await?;
        anyhow::ensure!(waiting.contains("the controller has no table yet"), "{waiting}");

        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        let sync = ["sync", "--plugin", "WasmPlugin", "--module-url", "file:///skycap.wasm"];
        let plan = fixture.skycap(&[&sync[..], &["--dry-run"]].concat()).await?;
        anyhow::ensure!(plan.contains("create  WasmPlugin istio-system/skycap"), "{plan}");
        anyhow::ensure!(fixture.plugin().await?.is_none(), "a dry run has written");
        fixture.skycap(&sync).await?;
        fixture.is_settled("after sync").await?;
        let again = fixture.skycap(&sync).await?;
        anyhow::ensure!(again == "nothing to change\n", "{again}");

        let controller = Controller::start(&fixture.cluster, "one", &[]).await?;
        fixture
            .until("it leads", async |_| {
                Ok(controller.metric("skycap_controller_leader").await? == 1.0)
            })
            .await?;
        let status = fixture.skycap(&["status", "--plugin", "WasmPlugin"]).await?;
        for words in ["routing      on", "as compiled", "one leads"] {
            anyhow::ensure!(status.contains(words), "{words} in\n{status}");
        }
        fixture.skycap(&["disable", "pr-1", "-n", "shop"]).await?;
        fixture.has_key("pr-1", false, "disabled").await?;
        let list = fixture.skycap(&["list"]).await?;
        anyhow::ensure!(list.contains("shop/pr-1") && list.contains("disabled"), "{list}");
        let explain = ["explain", "--plugin", "WasmPlugin", "--to", "cart.shop:80"];
        let header = ["-H", "baggage: sandbox=pr-1"];
        let why = fixture.skycap(&[&explain[..], &header[..]].concat()).await?;
        anyhow::ensure!(why.contains("`skycap enable pr-1 -n shop` switches it on"), "{why}");
        fixture.skycap(&["enable", "pr-1", "-n", "shop"]).await?;
        fixture.has_key("pr-1", true, "enabled").await?;
        fixture.skycap(&["disable", "--all"]).await?;
        fixture.until("the kill switch", async |f| Ok(!f.table().await?.enabled)).await?;
        let status = fixture.skycap(&["status", "--plugin", "WasmPlugin"]).await?;
        anyhow::ensure!(status.contains("routing      OFF"), "{status}");
        fixture.skycap(&["enable", "--all"]).await?;
        let check = fixture.skycap_fails(&["check"], 1).await?;
        anyhow::ensure!(check.contains("no Service `cart`"), "{check}");
        let wrong = fixture.skycap_fails(&["enable", "nobody", "-n", "shop"], 2).await?;
        anyhow::ensure!(wrong.contains("no sandbox or group `shop/nobody`"), "{wrong}");

        // What is removed first is what the controller may do: it takes nothing back.
        let uninstall = ["uninstall", "--plugin", "WasmPlugin"];
        let plan = fixture.skycap(&uninstall).await?;
        anyhow::ensure!(plan.starts_with("delete  ClusterRoleBinding skycap-controller"), "{plan}");
        fixture.nothing_is_left().await?;
        let maps = Api::<ConfigMap>::namespaced(fixture.cluster.client.clone(), "shop");
        anyhow::ensure!(maps.get_opt("pr-1").await?.is_some(), "a fragment is the user's");
        Ok(())
    })
}

#[test]
fn what_is_rendered_is_what_is_installed() -> anyhow::Result<()> {
    run(PluginKind::TrafficExtension, async |fixture: &mut Fixture| {
        let rendered = ["render", "--plugin", "TrafficExtension", "--image", "skycap"];
        let url = ["--module-url", "file:///skycap.wasm"];
        let text = fixture.skycap(&[&rendered[..], &url[..]].concat()).await?;
        let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text)?;
        let installation = Installation {
            meshes: fixture.cluster.meshes.clone(),
            mesh: fixture.mesh.clone(),
            image: "skycap".into(),
            access_log: false,
            spans: false,
        };
        let objects: Vec<_> = documents.into_iter().map(Object::new).collect::<Result<_, _>>()?;
        anyhow::ensure!(objects == installation.objects()?, "render differs from install");
        Ok(())
    })
}

#[test]
fn from_install_to_uninstall_on_linkerd() -> anyhow::Result<()> {
    let meshes = Meshes::from_iter([MeshKind::Linkerd]);
    run_on(&meshes, PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let install = ["install", "--mesh", "linkerd", "--image", "skycap:test", "--wait", "0"];
        let said = fixture.skycap_fails(&install, 1).await?;
        anyhow::ensure!(said.contains("no ServiceProfile"), "{said}");
        install_profiles(fixture).await?;
        let said = fixture.skycap_fails(&install, 1).await?;
        anyhow::ensure!(said.contains("there is no Deployment with linkerd.io"), "{said}");
        fixture.apply(&destination_controller()).await?;
        let plan = fixture.skycap(&install).await?;
        anyhow::ensure!(
            plan.contains("change  Deployment skycap-system/skycap-controller"),
            "{plan}"
        );
        let again = fixture.skycap(&install).await?;
        anyhow::ensure!(again == "nothing to change\n", "{again}");

        for name in ["cart", "cart-pr-1"] {
            fixture.apply(&service(name)).await?;
            fixture.apply(&endpoints(name, true)).await?;
        }
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        let plan = fixture.skycap(&["sync", "--dry-run"]).await?;
        anyhow::ensure!(plan.contains("create  HTTPRoute shop/skycap-cart-80-0"), "{plan}");
        fixture.skycap(&["sync"]).await?;
        anyhow::ensure!(
            fixture.skycap(&["sync"]).await? == "nothing to change\n",
            "it wrote again"
        );
        let asked = ["explain", "--to", "cart.shop:80", "-H", "baggage: sandbox=pr-1"];
        let story = fixture.skycap(&asked).await?;
        anyhow::ensure!(story.contains("cart.shop:80  -->  cart-pr-1.shop:80"), "{story}");
        let status = fixture.skycap(&["status"]).await?;
        anyhow::ensure!(
            status.contains("HTTPRoutes   0 accepted, 1 pending, 0 not taken"),
            "{status}"
        );

        fixture.skycap(&["uninstall"]).await?;
        let (_, own) = snapshot::read_policies(&fixture.cluster.client).await?;
        anyhow::ensure!(own.is_empty(), "{own:?} is left");
        let left = fixture.skycap(&["uninstall", "--mesh", "linkerd", "--dry-run"]).await?;
        // The namespace goes when what is in it is gone, which here nobody sees to.
        anyhow::ensure!(
            left.lines().all(
                |line| line.ends_with("Namespace skycap-system") || line == "nothing to change"
            ),
            "{left}"
        );
        Ok(())
    })
}

/// As Linkerd's chart labels it.
fn destination_controller() -> serde_json::Value {
    let labels = json!({
        "linkerd.io/control-plane-component": "destination",
        "app.kubernetes.io/version": "edge-26.8.3",
    });
    let pod = json!({
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "policy", "image": "policy"}]},
    });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "linkerd-destination", "namespace": "shop", "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": pod},
    })
}
