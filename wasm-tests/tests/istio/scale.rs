//! Sandboxes that come and go under load, and thousands of them.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;
use skycap::desired::istio::PluginKind;
use skycap_tests::fixture::{
    Fixture,
    istio_shop::{send_from, with_istio_shop},
    manifests::sandbox,
};

/// With `SKYCAP_LONG=1`, this runs for five minutes instead of 30 seconds.
#[test]
fn sandboxes_that_come_and_go_lose_no_request() -> anyhow::Result<()> {
    with_istio_shop(PluginKind::TrafficExtension, async |fixture, _shop| {
        let is_long = std::env::var("SKYCAP_LONG").is_ok_and(|long| long == "1");
        let end = Instant::now() + Duration::from_secs(if is_long { 300 } else { 30 });
        let load = (0..4).map(|client| tokio::spawn(ask_until(end, client)));
        let load = futures_util::future::join_all(load);
        let (changes, answers) = tokio::join!(change_until(fixture, end), load);
        let changes = changes?;
        let mut total = Seen::default();
        for answer in answers {
            let seen = answer??;
            total.sandbox += seen.sandbox;
            total.baseline += seen.baseline;
        }
        let Seen { sandbox, baseline } = total;
        println!(
            "{changes} changes, {sandbox} answers of sandboxes, {baseline} of the baseline, no other"
        );
        anyhow::ensure!(sandbox > 100 && baseline > 100, "the changes had no effect");
        Ok(())
    })
}

/// Ten times a second, adds or removes one of the sandboxes. Returns how often.
async fn change_until(fixture: &Fixture, end: Instant) -> anyhow::Result<usize> {
    let mut changes = 0;
    while Instant::now() < end {
        let number = changes * 7 % SANDBOXES;
        let name = format!("churn-{number}");
        let on = json!({"routes": format!("pricing: {}", target(number))});
        match changes % 3 {
            0 | 1 => fixture.apply(&sandbox(&name, on)).await?,
            _ => drop(fixture.delete(&name).await),
        }
        changes += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(changes)
}

/// How many requests were answered by whom.
#[derive(Default)]
struct Seen {
    sandbox: usize,
    baseline: usize,
}

/// Sends requests with the keys of all sandboxes in turn. Only the sandbox and the baseline may
/// answer.
async fn ask_until(end: Instant, client: usize) -> anyhow::Result<Seen> {
    let mut seen = Seen::default();
    for number in (client * 5).. {
        let number = number % SANDBOXES;
        let baggage = format!("sandbox=churn-{number}");
        let answer = send_from("frontend", "pricing.shop", &[("baggage", &baggage)]).await?;
        match answer.as_str() {
            "pricing" => seen.baseline += 1,
            answer if answer == target(number) => seen.sandbox += 1,
            other => anyhow::bail!("`{baggage}` was answered by `{other}`"),
        }
        if Instant::now() > end {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(seen)
}

#[test]
fn five_thousand_sandboxes_reach_the_sidecars() -> anyhow::Result<()> {
    with_istio_shop(PluginKind::TrafficExtension, async |fixture, shop| {
        let agent = shop.agent("frontend")?;
        let before = agent.envoy_resident_kib()?;
        let numbers: Vec<_> = (0..5_000).collect();
        for some in numbers.chunks(50) {
            let some = some.iter().map(async |number| {
                let routes = json!({"routes": format!("pricing: {}", target(*number))});
                fixture.apply(&sandbox(&format!("pr-{number}"), routes)).await
            });
            futures_util::future::try_join_all(some).await?;
        }
        let ask = async |number: usize| {
            let baggage = format!("sandbox=pr-{number}");
            send_from("frontend", "pricing.shop", &[("baggage", &baggage)]).await
        };
        let last = async || ask(4_999).await;
        fixture.answer_changes("the last of 5,000", &["pricing"], target(4_999), last).await?;
        let routes = json!({"routes": "pricing: pricing-pr-1"});
        fixture.apply(&sandbox("pr-5000", routes)).await?;
        let next = async || ask(5_000).await;
        let took = fixture.answer_changes("one more", &["pricing"], "pricing-pr-1", next).await?;
        let plugin = fixture.plugin().await?.context("no plugin")?.data.to_string().len();
        let growth = agent.envoy_resident_kib()?.saturating_sub(before);
        println!(
            "5,000 sandboxes: {plugin} bytes of plugin, Envoy grew by {growth} KiB, one more sandbox \
             takes {took:?}"
        );
        anyhow::ensure!(plugin < 52_000, "{plugin} bytes of plugin");
        anyhow::ensure!(growth < 7 << 10, "Envoy grew by {growth} KiB");
        anyhow::ensure!(took < Duration::from_millis(1_500), "one more sandbox took {took:?}");
        Ok(())
    })
}

fn target(number: usize) -> &'static str {
    if number.is_multiple_of(2) { "pricing-pr-1" } else { "pricing-pr-2" }
}

const SANDBOXES: usize = 20;
