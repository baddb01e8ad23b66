//! A sandbox is disabled in its ConfigMap while its requests run, and no request is lost.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anstyle::AnsiColor;
use anyhow::{bail, ensure};

use super::{PR_123, config_maps::ConfigMaps, headers};
use crate::{
    picture,
    shop::{self, Shop},
};

pub(super) async fn play(shop: &mut Shop, config_maps: &ConfigMaps) -> anyhow::Result<()> {
    anstream::println!("\npr-123 is disabled in its ConfigMap while its requests run:");
    let running = Arc::new(AtomicBool::new(true));
    let load = tokio::spawn(load(shop.gateway()?, Arc::clone(&running)));
    tokio::time::sleep(LOAD_BEFORE).await;
    config_maps.edit("pr-123.yaml", "enabled: \"true\"", "enabled: \"false\"")?;
    let table = config_maps.compile()?;
    let pushed = Instant::now();
    shop.push(&table).await?;
    let taken = pushed.elapsed();
    tokio::time::sleep(LOAD_AFTER).await;
    running.store(false, Ordering::Relaxed);
    let visits = load.await?;
    report(&visits, pushed, taken)
}

/// One request of the load: when its response arrived, and its path.
type Answered = (Instant, anyhow::Result<Vec<String>>);

/// Sends 200 requests a second with the key pr-123, and waits for all responses.
async fn load(gateway: SocketAddr, running: Arc<AtomicBool>) -> Vec<Answered> {
    let mut requests = Vec::new();
    let mut clock = tokio::time::interval(Duration::from_millis(5));
    while running.load(Ordering::Relaxed) {
        clock.tick().await;
        requests.push(tokio::spawn(async move {
            let visit = async {
                let (visit, _) = shop::visit(gateway, &headers(&[PR_123])?).await?;
                anyhow::Ok(visit.path)
            };
            let path = visit.await;
            (Instant::now(), path)
        }));
    }
    let mut answered = Vec::new();
    for request in requests {
        let lost = |error| (Instant::now(), Err(anyhow::Error::new(error)));
        answered.push(request.await.unwrap_or_else(lost));
    }
    answered
}

fn report(visits: &[Answered], pushed: Instant, taken: Duration) -> anyhow::Result<()> {
    let through = |cart: &str| {
        let matching = |(when, path): &Answered| {
            path.as_ref().is_ok_and(|path| path == &["frontend", cart, "pricing"]).then_some(*when)
        };
        visits.iter().filter_map(matching).collect::<Vec<_>>()
    };
    let (sandbox, baseline) = (through("cart-pr-123"), through("cart"));
    let lost = visits.len() - sandbox.len() - baseline.len();
    let rows = [
        ("sandbox", sandbox.len(), AnsiColor::Green),
        ("baseline", baseline.len(), AnsiColor::Cyan),
        ("lost or misrouted", lost, AnsiColor::Red),
    ];
    for (label, count, color) in rows {
        let bar = picture::bar(count as f64 / visits.len().max(1) as f64, 40);
        anstream::println!("  {label:<18} {count:>5}  {}", picture::paint(color, &bar));
    }
    let last = sandbox.iter().filter_map(|when| when.checked_duration_since(pushed)).max();
    anstream::println!(
        "  all Envoys had the new table {} ms after the push; the sandbox's last response arrived \
         after {} ms",
        taken.as_millis(),
        last.unwrap_or_default().as_millis()
    );
    if let Some((_, Err(error))) = visits.iter().find(|(_, path)| path.is_err()) {
        bail!("a request was lost: {error:#}");
    }
    ensure!(lost == 0, "{lost} requests took a wrong path");
    ensure!(
        !sandbox.is_empty() && !baseline.is_empty(),
        "the traffic did not move from the sandbox to the baseline"
    );
    Ok(())
}

const LOAD_BEFORE: Duration = Duration::from_millis(1_000);
const LOAD_AFTER: Duration = Duration::from_millis(1_000);
