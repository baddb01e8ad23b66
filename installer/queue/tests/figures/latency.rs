//! How much later a message arrives, at 1,000 a second.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message as _,
    consumer::{BaseConsumer, Consumer as _},
};

use super::{row, rules};
use crate::{
    cluster::{Brokers, PATIENCE},
    load::Load,
    rules_server::RulesServer,
    splitter::Launcher,
};

/// Compares when each message comes to a reader of the queue's topic and to one of the baseline's.
pub(crate) async fn measure(brokers: &Brokers) {
    brokers.create("orders", 6, &[]).await;
    let server = RulesServer::start(&rules(false)).await;
    let launcher = Launcher::new(&server.url, &brokers.servers, &[]);
    let splitter = launcher.start("a");
    splitter.wait_until_ready().await;
    let readers = ["orders", "orders.baseline"].map(|topic| {
        let reader = reader(brokers, topic);
        thread::spawn(move || arrivals(&reader))
    });
    // Both readers have their partitions before the first message.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let load = Load::start(&brokers.servers, 6, COUNT, 1_000, vec![None]);
    let [before, after] =
        tokio::task::spawn_blocking(move || readers.map(|reader| reader.join().unwrap()))
            .await
            .unwrap();
    load.join();
    let mut added: Vec<f64> = before
        .iter()
        .skip(1_000)
        .map(|(payload, at)| after[payload].saturating_duration_since(*at).as_secs_f64() * 1_000.0)
        .collect();
    added.sort_by(f64::total_cmp);
    let quantile = |percent: usize| added[added.len() * percent / 100];
    let values = vec![format!("{:.1} ms", quantile(50)), format!("{:.1} ms", quantile(99))];
    row("added latency at 1,000/s: p50, p99", &values);
    splitter.stop().await;
}

fn reader(brokers: &Brokers, topic: &str) -> BaseConsumer {
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &brokers.servers)
        .set("group.id", format!("latency-{topic}"))
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "100")
        .create()
        .unwrap();
    reader.subscribe(&[topic]).unwrap();
    reader
}

fn arrivals(reader: &BaseConsumer) -> BTreeMap<Vec<u8>, Instant> {
    let mut arrivals = BTreeMap::new();
    while arrivals.len() < usize::try_from(COUNT).unwrap() {
        let Some(message) = reader.poll(PATIENCE) else { continue };
        arrivals.insert(message.unwrap().payload().unwrap().to_vec(), Instant::now());
    }
    arrivals
}

const COUNT: u64 = 15_000;
