//! One fork in Pods: how long `up` and `down` take beyond the Pod itself, and what it requests.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures_util::TryStreamExt as _;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::api::resource::Quantity};
use kube::{
    Api, Client,
    api::ListParams,
    runtime::watcher::{Config, Event, watcher},
};
use skycap::environment::labels::SANDBOX_LABEL;
use tokio::sync::Mutex;

use super::{row, spread};
use crate::{
    compare::Row,
    fixture::{
        Fixture,
        pods::{BASELINE_PATH, path_from_outside},
    },
};

/// Opens and closes environments in the shop. Runs on a machine of its own.
///
/// # Errors
/// If a program does not start, or if a request takes a wrong path.
pub async fn on_machine() -> anyhow::Result<Vec<Row>> {
    let fixture = Fixture::start_with_node().await?;
    fixture.install_istio().await?;
    fixture.open_shop().await?;
    fixture.install_skycap().await?;
    fixture.open_edge().await?;
    let [mut up, mut routed, mut down, mut gone] = [const { Vec::new() }; 4];
    let mut cost = Vec::new();
    for _ in 0..ROUNDS {
        let life = Life::watch(fixture.cluster.client.clone());
        let begun = Instant::now();
        fixture.skycap(&["up", "pr-9", "-n", "shop", "--fork", "cart"]).await?;
        let took = begun.elapsed();
        let path = path_from_outside(&fixture, &[("baggage", "sandbox=pr-9")]).await?;
        ensure!(path == "frontend > cart-pr-9 > pricing", "after `up`: {path}");
        up.push(took);
        routed.push(took.saturating_sub(life.starting().await?));
        cost = requests(&fixture.cluster.client).await?;
        let begun = Instant::now();
        fixture.skycap(&["down", "pr-9", "-n", "shop"]).await?;
        let took = begun.elapsed();
        let path = path_from_outside(&fixture, &[("baggage", "sandbox=pr-9")]).await?;
        ensure!(path == BASELINE_PATH, "after `down`: {path}");
        down.push(took);
        gone.push(took.saturating_sub(life.ending().await?));
    }
    let mut rows = vec![
        row("skycap up of one fork in Pods, until requests are served", spread(&mut up)?),
        row("beyond the time from the Pod's creation until it is ready", spread(&mut routed)?),
        row("skycap down, until nothing is left", spread(&mut down)?),
        row("beyond the time from the Pod's deletion until it is gone", spread(&mut gone)?),
    ];
    rows.extend(cost);
    Ok(rows)
}

/// When a watch has seen the events of a fork's Pod.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    created: Option<Instant>,
    ready: Option<Instant>,
    deleted: Option<Instant>,
    gone: Option<Instant>,
}

/// The life of the only fork's Pod, as its watch sees it.
struct Life(Arc<Mutex<Seen>>, tokio::task::JoinHandle<()>);

impl Life {
    fn watch(client: Client) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = seen.clone();
        let task = tokio::spawn(async move {
            let pods = Api::<Pod>::namespaced(client, "shop");
            let events = watcher(pods, Config::default().labels(SANDBOX_LABEL));
            let events = events.try_for_each(async |event| {
                shared.lock().await.note(&event);
                Ok(())
            });
            // A failure shows: the times are missing.
            drop(events.await);
        });
        Self(seen, task)
    }

    /// From the Pod's creation until it was ready: the time of the image and of the application.
    async fn starting(&self) -> anyhow::Result<Duration> {
        let seen = *self.0.lock().await;
        between(seen.created, seen.ready).with_context(|| format!("{seen:?}"))
    }

    /// From the deletion of the Pod until it was gone: the time that the application takes to end.
    async fn ending(&self) -> anyhow::Result<Duration> {
        let seen = *self.0.lock().await;
        between(seen.deleted, seen.gone).with_context(|| format!("{seen:?}"))
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.1.abort();
    }
}

impl Seen {
    fn note(&mut self, event: &Event<Pod>) {
        let now = Instant::now();
        match event {
            Event::Apply(pod) | Event::InitApply(pod) => {
                self.created.get_or_insert(now);
                let conditions =
                    pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
                if conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True") {
                    self.ready.get_or_insert(now);
                }
                if pod.metadata.deletion_timestamp.is_some() {
                    self.deleted.get_or_insert(now);
                }
            }
            Event::Delete(_) => self.gone = Some(now),
            Event::Init | Event::InitDone => {}
        }
    }
}

fn between(first: Option<Instant>, last: Option<Instant>) -> anyhow::Result<Duration> {
    let (first, last) =
        first.zip(last).context("the watch has not seen the whole life of the Pod")?;
    Ok(last.duration_since(first))
}

/// What the environment requests, beside a copy of the namespace.
async fn requests(client: &Client) -> anyhow::Result<Vec<Row>> {
    let pods = Api::<Pod>::namespaced(client.clone(), "shop");
    let sum = async |labels: &str| {
        let pods = pods.list(&ListParams::default().labels(labels)).await?.items;
        let (mut cpu, mut memory) = (0.0, 0.0);
        for pod in &pods {
            cpu += requested(pod, "cpu");
            memory += requested(pod, "memory");
        }
        let (millis, mebibytes) = (cpu * 1000.0, memory / MEBIBYTE);
        let text = format!("{} Pods, {millis:.0}m CPU, {mebibytes:.0} MiB", pods.len());
        anyhow::Ok(text.replacen("1 Pods", "1 Pod", usize::from(pods.len() == 1)))
    };
    Ok(vec![
        row("an environment of one fork requests", sum(SANDBOX_LABEL).await?),
        row(
            "a copy of the shop's namespace would request",
            sum(&format!("!{SANDBOX_LABEL}")).await?,
        ),
    ])
}

/// What the scheduler counts of a Pod: its containers and its sidecars (init containers that run on).
fn requested(pod: &Pod, resource: &str) -> f64 {
    let spec = pod.spec.iter();
    let containers = spec.flat_map(|spec| {
        let sidecars = spec.init_containers.iter().flatten();
        let sidecars = sidecars.filter(|one| one.restart_policy.as_deref() == Some("Always"));
        spec.containers.iter().chain(sidecars)
    });
    let requests =
        containers.filter_map(|one| one.resources.as_ref()?.requests.as_ref()?.get(resource));
    requests.map(amount).sum()
}

/// A quantity of CPUs or bytes, in the forms that the shop has.
fn amount(Quantity(text): &Quantity) -> f64 {
    let end =
        text.find(|digit: char| !digit.is_ascii_digit() && digit != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit {
        "m" => 0.001,
        "Ki" => 1024.0,
        "Mi" => MEBIBYTE,
        "Gi" => MEBIBYTE * 1024.0,
        "" => 1.0,
        // NaN shows in the sum.
        _ => f64::NAN,
    };
    number.parse().unwrap_or(f64::NAN) * factor
}

const MEBIBYTE: f64 = 1024.0 * 1024.0;
const ROUNDS: usize = 5;
