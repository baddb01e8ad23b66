//! A client of the shop, for a Pod.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use hyper::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::Visit;
use crate::client;

/// What a client got, as a line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// How many requests failed before the first one that was answered.
    pub failed: usize,
    /// How often each path was taken from then on; an error is its text.
    pub paths: BTreeMap<String, usize>,
}

/// Asks a Service until it answers, then some times more, and prints [`Asked`].
///
/// # Errors
/// If the name has no address, or nothing is answered for a minute.
pub async fn ask(service: &str) -> anyhow::Result<()> {
    let mut headers = HeaderMap::new();
    let baggage = std::env::var("BAGGAGE").unwrap_or_default();
    headers.insert("baggage", baggage.parse().context("invalid BAGGAGE")?);
    let mut asked = Asked { failed: 0, paths: BTreeMap::new() };
    while asked.paths.values().sum::<usize>() < TIMES {
        match path(service, &headers).await {
            Err(_) if asked.paths.is_empty() && asked.failed < FAILURES => asked.failed += 1,
            Err(error) => *asked.paths.entry(format!("{error:#}")).or_default() += 1,
            Ok(path) => *asked.paths.entry(path).or_default() += 1,
        }
        tokio::time::sleep(PAUSE).await;
    }
    println!("{}", serde_json::to_string(&asked)?);
    Ok(())
}

async fn path(service: &str, headers: &HeaderMap) -> anyhow::Result<String> {
    let mut addresses = tokio::net::lookup_host(service).await?;
    let address = addresses.next().context("no address")?;
    let answer = client::send(address, service, headers).await?;
    anyhow::ensure!(answer.status == StatusCode::OK, "{}: {}", answer.status, answer.body);
    let visit: Visit = serde_json::from_str(&answer.body)?;
    Ok(visit.path.join(" > "))
}

const TIMES: usize = 20;
const FAILURES: usize = 1_200;
const PAUSE: Duration = Duration::from_millis(50);
