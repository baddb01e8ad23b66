//! A queue with brokers, rules and splitters, as the tests of moments use it.

use std::time::{Duration, Instant};

use rdkafka::producer::Producer as _;
use skycap::table::{
    availability::OnUnavailable,
    queue::rules::{Rules, SandboxRule},
};
use skycap_tests::kafka::Kafka;

use crate::{
    checker::read,
    cluster::{Brokers, PATIENCE},
    load::{producer, send},
    rules_server::RulesServer,
    splitter::{Launcher, Splitter},
};

pub(crate) const PARTITIONS: i32 = 3;

/// A queue with one splitter.
pub(crate) struct Shop {
    pub(crate) kafka: Kafka,
    pub(crate) brokers: Brokers,
    pub(crate) server: RulesServer,
    pub(crate) launcher: Launcher,
}

impl Shop {
    pub(crate) async fn start(rules: &Rules) -> Self {
        let kafka = Kafka::start(1).await.unwrap();
        let brokers = Brokers::new(&kafka.servers());
        brokers.create("orders", PARTITIONS, &[]).await;
        let server = RulesServer::start(rules).await;
        let launcher = Launcher::new(&server.url, &kafka.servers(), &[]);
        Self { kafka, brokers, server, launcher }
    }

    /// Writes messages with these payloads and this key, to partition 0.
    pub(crate) fn write(&self, payloads: &[&str], key: Option<&str>) {
        let producer = producer(&self.brokers.servers);
        for payload in payloads {
            send(&producer, "orders", 0, payload, key);
        }
        producer.flush(PATIENCE).unwrap();
    }

    /// Waits until a topic contains exactly these payloads, in this order.
    pub(crate) async fn expect(&self, topic: &str, payloads: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = payloads_of(&self.brokers.servers, topic);
            if found == payloads {
                return;
            }
            assert!(Instant::now() < deadline, "`{topic}` contains {found:?}, not {payloads:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until a topic is there, or is gone.
    pub(crate) async fn wait_for_topic(&self, topic: &str, expected: bool) {
        let deadline = Instant::now() + PATIENCE;
        while self.brokers.has_topic(topic) != expected {
            assert!(Instant::now() < deadline, "`{topic}`: expected {expected}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Writes to a sandbox until a message arrives there.
    pub(crate) async fn route(&self, splitter: &Splitter, sandbox: &str) {
        let topic = format!("orders.{sandbox}");
        for number in 0.. {
            self.write(&[&format!("to {sandbox} {number}")], Some(sandbox));
            if !payloads_of(&self.brokers.servers, &topic).is_empty() {
                return;
            }
            assert!(number < 200, "nothing arrives in `{topic}`:\n{}", splitter.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until every splitter has the rules that were published last.
    pub(crate) async fn settle(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.server.lowest_held() != Some(self.server.version()) {
            assert!(Instant::now() < deadline, "the rules do not arrive");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn grow(&self, topic: &str, size: usize) {
        let deadline = Instant::now() + PATIENCE;
        while payloads_of(&self.brokers.servers, topic).len() < size {
            assert!(Instant::now() < deadline, "`{topic}` does not grow to {size}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

pub(crate) fn payloads_of(servers: &str, topic: &str) -> Vec<String> {
    let payload = |payload: Option<Vec<u8>>| String::from_utf8(payload.unwrap()).unwrap();
    read(servers, topic, PARTITIONS).into_iter().map(|seen| payload(seen.content.payload)).collect()
}

/// Rules by which each of these sandboxes has the key of its name.
pub(crate) fn rules(sandboxes: &[&str], on_unavailable: OnUnavailable) -> Rules {
    let rule = SandboxRule { on_unavailable, unread: None };
    Rules {
        enabled: true,
        carriers: vec![skycap_core::carrier::Carrier::default()],
        keys: sandboxes.iter().map(|name| (name.parse().unwrap(), (*name).to_owned())).collect(),
        sandboxes: sandboxes.iter().map(|name| ((*name).to_owned(), rule)).collect(),
    }
}
