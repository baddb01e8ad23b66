//! The figures of the splitter, for `cargo compare --only queue`: one row of JSON a line.
#![expect(clippy::unwrap_used, reason = "what fails ends the measurement")]
#![allow(dead_code, reason = "the tests use more of the shared files")]

#[path = "../queue/cluster.rs"]
mod cluster;
mod latency;
#[path = "../queue/load.rs"]
mod load;
#[path = "../queue/rules_server.rs"]
mod rules_server;
#[path = "../queue/splitter.rs"]
mod splitter;
mod throughput;

use skycap::table::{
    availability::OnUnavailable,
    queue::rules::{Rules, SandboxRule},
};
use skycap_tests::kafka::Kafka;

/// Messages of this size are moved.
const BYTES: usize = 1_024;
const PARTITIONS: i32 = 6;

#[tokio::main(worker_threads = 2)]
async fn main() {
    // `cargo test` lists the tests of every program.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let kafka = Kafka::start(1).await.unwrap();
    let brokers = cluster::Brokers::new(&kafka.servers());
    throughput::measure(&brokers).await;
    latency::measure(&brokers).await;
}

/// Prints a row.
fn row(name: &str, values: &[String]) {
    println!("{}", serde_json::json!({"name": name, "values": values}));
}

/// Rules by which half of the messages belong to a sandbox, or none.
fn rules(has_sandbox: bool) -> Rules {
    let names: &[&str] = if has_sandbox { &["pr-1"] } else { &[] };
    let rule = SandboxRule { on_unavailable: OnUnavailable::Fail, unread: None };
    Rules {
        enabled: true,
        carriers: vec![skycap_core::carrier::Carrier::default()],
        keys: names.iter().map(|name| (name.parse().unwrap(), (*name).to_owned())).collect(),
        sandboxes: names.iter().map(|name| ((*name).to_owned(), rule)).collect(),
    }
}
