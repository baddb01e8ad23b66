//! Tables that Envoy's module rejects, under load and as the first one.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use skycap_tests::{
    fixture::{istio_shop::header_map, module_path},
    shop::{self, Visit},
};

use super::{
    dispatch::{Probe, first},
    shop::{TABLE, open_shop},
};

#[tokio::test]
async fn a_rejected_table_loses_no_request() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut shop = open_shop(TABLE, folder.path()).await?;
    let running = Arc::new(AtomicBool::new(true));
    let gateway = shop.gateway()?;
    // The clients wait for their answers, so a slow machine gets fewer requests.
    let clients = (0..4).map(|_| tokio::spawn(send(gateway, Arc::clone(&running))));
    let clients: Vec<_> = clients.collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    for bad in ["{}", r#"{"version":"2.0"}"#, "no JSON"] {
        anyhow::ensure!(shop.push(bad).await.is_err(), "Envoy accepted `{bad}`");
        // In between, the same table in other bytes: Envoy must accept it.
        shop.push(&format!("{TABLE}{}", " ".repeat(bad.len()))).await?;
    }
    running.store(false, Ordering::Relaxed);
    let mut sent = 0;
    for client in clients {
        sent += client.await??;
    }
    anyhow::ensure!(sent > 50, "only {sent} requests");
    Ok(())
}

/// Sends requests with `pr-1`, one after the other. Returns how many were answered by the sandbox.
///
/// # Errors
/// If a request is lost, or takes another path.
async fn send(gateway: SocketAddr, running: Arc<AtomicBool>) -> anyhow::Result<usize> {
    let headers = header_map(&[("baggage", "sandbox=pr-1")])?;
    let mut sent = 0;
    while running.load(Ordering::Relaxed) {
        let (Visit { path, .. }, _) = shop::visit(gateway, &headers).await?;
        anyhow::ensure!(path == ["frontend", "cart-pr-1", "pricing"], "wrong path {path:?}");
        sent += 1;
    }
    Ok(sent)
}

#[tokio::test]
async fn an_invalid_first_table_passes_all_and_may_come_again() -> anyhow::Result<()> {
    let bad = r#"{"version":"2.0"}"#;
    let mut probe = Probe::start(bad, true, module_path()?).await?;
    let key = [("baggage", "sandbox=pr-2")];
    let way = async |probe: &Probe| anyhow::Ok(first(&probe.get("pricing.shop", &key).await?));
    anyhow::ensure!(way(&probe).await? == "pricing", "routed without a table");
    let forged = probe.get("pricing.shop", &[("x-skycap-cluster", "nowhere")]).await?;
    anyhow::ensure!(first(&forged) == "pricing", "{forged:?}");
    anyhow::ensure!(probe.envoy.push(TABLE).await?, "Envoy rejected a valid table");
    anyhow::ensure!(way(&probe).await? == "pricing-pr-2", "the valid table does not serve");
    // Envoy remembers that it has accepted this one, and configures only the workers with it.
    let _ = probe.envoy.push(bad).await?;
    anyhow::ensure!(way(&probe).await? == "pricing-pr-2", "the old table does not serve any more");
    Ok(())
}
