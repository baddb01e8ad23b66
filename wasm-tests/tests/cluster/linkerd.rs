//! The command on a cluster with Linkerd, from install to uninstall.

use serde_json::{Value, json};
use skycap::{
    desired::istio::PluginKind,
    observed::snapshot,
    table::{
        meshes::{MeshKind, Meshes},
        policies::PolicyKind,
    },
};
use skycap_tests::fixture::{
    Fixture,
    manifests::{endpoints, install_kind, sandbox, service},
    run_on,
};

#[test]
fn from_install_to_uninstall_on_linkerd() -> anyhow::Result<()> {
    let meshes = Meshes::from_iter([MeshKind::Linkerd]);
    run_on(&meshes, PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        install_needs_linkerd(fixture).await?;
        for name in ["cart", "cart-pr-1"] {
            fixture.apply(&service(name)).await?;
            fixture.apply(&endpoints(name, true)).await?;
        }
        fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
        let plan = fixture.skycap(&["sync", "--dry-run"]).await?;
        anyhow::ensure!(plan.contains("HTTPRoute shop/skycap-cart-80-0"), "{plan}");
        fixture.skycap(&["sync"]).await?;
        let again = fixture.skycap(&["sync"]).await?;
        anyhow::ensure!(again == "nothing to change\n", "{again}");
        let asked = ["explain", "--to", "cart.shop:80", "-H", "baggage: sandbox=pr-1"];
        let story = fixture.skycap(&asked).await?;
        let first = story.lines().next().unwrap_or_default();
        anyhow::ensure!(first.ends_with("cart-pr-1.shop:80"), "{story}");
        let status = fixture.skycap_status(&["status", "-o", "json"]).await?;
        let status: Value = serde_json::from_str(&status)?;
        let routes = json!({"accepted": 0, "pending": 1, "refused": []});
        anyhow::ensure!(status["httpRoutes"] == routes, "{status}");

        fixture.skycap(&["uninstall"]).await?;
        let (_, own) =
            snapshot::read_policies(&fixture.cluster.client, &[PolicyKind::HttpRoute]).await?;
        anyhow::ensure!(own.is_empty(), "left behind: {own:?}");
        let left = fixture.skycap(&["uninstall", "--mesh", "linkerd", "--dry-run"]).await?;
        // Without a namespace controller, the namespace stays.
        let is_namespace = |line: &str| line.ends_with("Namespace skycap-system");
        anyhow::ensure!(
            left.lines().all(|line| is_namespace(line) || line == "nothing to change"),
            "{left}"
        );
        Ok(())
    })
}

/// `install` looks for Linkerd's CRDs and for its destination controller.
async fn install_needs_linkerd(fixture: &Fixture) -> anyhow::Result<()> {
    let install = ["install", "--mesh", "linkerd", "--image", "skycap:test", "--wait", "0"];
    let message = fixture.skycap_fails(&install, 1).await?;
    anyhow::ensure!(message.contains("ServiceProfile"), "{message}");
    install_kind(fixture, "linkerd.io/v1alpha2", "ServiceProfile").await?;
    let message = fixture.skycap_fails(&install, 1).await?;
    anyhow::ensure!(message.contains("Deployment") && message.contains("linkerd.io"), "{message}");
    fixture.apply(&destination_controller()).await?;
    let plan = fixture.skycap(&install).await?;
    anyhow::ensure!(plan.contains("Deployment skycap-system/skycap-controller"), "{plan}");
    let again = fixture.skycap(&install).await?;
    anyhow::ensure!(again == "nothing to change\n", "{again}");
    Ok(())
}

/// A Deployment with the labels of Linkerd's chart.
fn destination_controller() -> Value {
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
