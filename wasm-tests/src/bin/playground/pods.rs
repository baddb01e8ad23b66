//! The playground in Pods.

use std::process::ExitCode;

use serde_json::json;
use skycap_tests::{
    cluster::{self, Image, machine},
    fixture::{
        Fixture,
        manifests::sandbox,
        pods::{BASELINE_PATH, path_from_outside},
    },
    progress::Progress,
    workspace,
};

use super::{KEY, tell};

/// Opens the shop, prints how to use it, and keeps it open.
pub(super) async fn open() -> anyhow::Result<ExitCode> {
    let mut progress = Progress::new("starting a cluster with a node");
    let mut next = |what: &str| progress = Progress::new(what);
    let fixture = Fixture::start_with_node().await?;
    next("installing Istio");
    fixture.install_istio().await?;
    next("opening the shop, with injected sidecars");
    fixture.open_shop().await?;
    next("installing skycap");
    fixture.install_skycap().await?;
    // The person who plays is outside, and sends the key through the gateway.
    fixture.open_edge().await?;
    next("adding a sandbox");
    fixture.add_workload("cart-pr-1").await?;
    fixture.apply(&sandbox("pr-1", json!({"routes": "cart: cart-pr-1"}))).await?;
    let is_routed =
        async |fixture: &Fixture| Ok(path_from_outside(fixture, &[KEY]).await? != BASELINE_PATH);
    fixture.until("a request to the sandbox", is_routed).await?;
    drop(progress);
    tell(&instructions(&fixture).await?);
    std::future::pending().await
}

async fn instructions(fixture: &Fixture) -> anyhow::Result<String> {
    let kubeconfig = fixture.cluster.kubeconfig(fixture.cluster.admin_token())?;
    let gateway = fixture.service_address("istio-system", "istio-ingressgateway", 80).await?;
    Ok(format!(
        "\nThe shop is open until Ctrl-C, and so is its edge: keys from outside have an effect.\n\
         In another terminal, as root:\n  \
         nsenter --target $(cat {}) --mount --pid --net\n  \
         export KUBECONFIG={}\n  \
         curl -s -H 'Host: shop.example.com' -H '{}: {}' http://{gateway}/\n  \
         {} status\n\
         The sandbox of another pull request, from a file to change and to try again:\n  \
         {} up -f {} --set PR=9 --set IMAGE={}\n\
         The logs are in {}",
        machine::entrance().display(),
        kubeconfig.display(),
        KEY.0,
        KEY.1,
        cluster::program().display(),
        cluster::program().display(),
        workspace::root().join("deploy/examples/skycap.yaml").display(),
        Image::reference("cart"),
        fixture.cluster.folder().display()
    ))
}
