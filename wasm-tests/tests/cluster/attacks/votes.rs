//! A developer's Pods that report what they want.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use skycap::{desired::istio::PluginKind, module::trial::look, observed::sidecars::ScrapeError};
use skycap_tests::{
    cluster::local_address,
    fixture::{Fixture, run},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// A Pod without Istio's marks, or of a namespace without a vote, is not asked; an endless answer is cut
/// off, and a port leads to no other path of the API server.
#[test]
fn pods_report_what_they_want() -> anyhow::Result<()> {
    run(PluginKind::WasmPlugin, async |fixture: &mut Fixture| {
        let silent = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "silent", "labels": {"skycap.dev/rollout-vote": "false"}},
        });
        fixture.apply(&silent).await?;
        let (short, endless) = (metrics(false).await?, metrics(true).await?);
        let injected = json!({"sidecar.istio.io/status": "{}"});
        create(fixture, "shop", "sidecar", short, &injected).await?;
        create(fixture, "shop", "only-a-name", short, &json!({})).await?;
        create(fixture, "shop", "endless", endless, &injected).await?;
        create(fixture, "silent", "sidecar", short, &injected).await?;
        create(fixture, "shop", "traversal", short, &injected).await?;
        let path = json!({"metadata": {"annotations": {"status.sidecar.istio.io/port": "15020/proxy/x?"}}});
        let pods = Api::<Pod>::namespaced(fixture.cluster.client.clone(), "shop");
        pods.patch("traversal", &PatchParams::default(), &Patch::Merge(&path)).await?;
        let labels = [("app".to_owned(), "canary".to_owned())].into();
        let (canary, others) =
            look(&fixture.cluster.client, &labels, "istio-system.skycap").await?;
        let reports: Vec<_> = canary.reports.keys().collect();
        anyhow::ensure!(
            reports == ["shop/endless", "shop/sidecar", "shop/traversal"],
            "{reports:?}"
        );
        anyhow::ensure!(canary.reports["shop/sidecar"].is_ok(), "{:?}", canary.reports);
        let endless = &canary.reports["shop/endless"];
        // Whichever limit comes first on this machine.
        let is_cut_off = matches!(endless, Err(ScrapeError::TooLong | ScrapeError::Timeout));
        anyhow::ensure!(is_cut_off, "{endless:?}");
        let traversal = &canary.reports["shop/traversal"];
        anyhow::ensure!(matches!(traversal, Err(ScrapeError::InvalidPath(_))), "{traversal:?}");
        anyhow::ensure!(others.reports.is_empty(), "{:?}", others.reports);
        Ok(())
    })
}

/// A server that answers every request with metrics, with or without an end.
async fn metrics(endless: bool) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((local_address()?, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4_096];
                let _ = stream.read(&mut request).await?;
                stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await?;
                let lines = b"skycap_requests_total{outcome=\"routed\"} 1\n".repeat(1_000);
                let times = if endless { usize::MAX } else { 1 };
                for _ in 0..times {
                    stream.write_all(&lines).await?;
                }
                std::io::Result::Ok(())
            });
        }
    });
    Ok(address)
}

/// A Pod of the canary whose metrics are at this address.
async fn create(
    fixture: &Fixture,
    namespace: &str,
    name: &str,
    metrics: SocketAddr,
    marks: &Value,
) -> anyhow::Result<()> {
    let mut annotations = marks.clone();
    annotations["status.sidecar.istio.io/port"] = metrics.port().to_string().into();
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": namespace},
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace, "labels": {"app": "canary"},
            "annotations": annotations,
        },
        "spec": {"containers": [{"name": "istio-proxy", "image": "istio-proxy"}]},
    });
    fixture.apply(&account).await?;
    fixture.apply(&pod).await?;
    let address = metrics.ip();
    let status =
        json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}});
    let pods = Api::<Pod>::namespaced(fixture.cluster.client.clone(), namespace);
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await?;
    Ok(())
}
