//! What is said before anything is moved.

use skycap::table::queue::rules::Rules;
use skycap_tests::kafka::{Kafka, PASSWORD};

use crate::{
    cluster::Brokers,
    rules_server::RulesServer,
    splitter::{Launcher, Splitter},
};

async fn says(splitter: Splitter, text: &str) {
    splitter.wait_until_it_says(text).await;
    let moved = splitter.metric("skycap_queue_transactions_total").await;
    assert_eq!(moved, Some(0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_cannot_be_split_is_refused_with_the_reason() {
    let kafka = Kafka::start(1).await.unwrap();
    let brokers = Brokers::new(&kafka.servers());
    let server = RulesServer::start(&Rules { enabled: true, ..Rules::default() }).await;
    let launcher =
        |servers: &str, fields: &[(&str, &str)]| Launcher::new(&server.url, servers, fields);
    let servers = kafka.servers();

    let alone = Launcher::new("http://127.0.0.1:9", &servers, &[]);
    says(alone.start("z"), "the controller has not sent the rules yet").await;
    let nobody = launcher("127.0.0.1:9", &[]);
    says(nobody.start("a"), "the brokers at `127.0.0.1:9` do not answer").await;
    let unknown = launcher(&servers, &[]);
    let splitter = unknown.start("b");
    says(splitter, "the topic `orders` does not exist").await;
    brokers.create("compacted", 1, &[("cleanup.policy", "compact")]).await;
    let compacted = launcher(&servers, &[("topic", "compacted")]);
    says(compacted.start("c"), "the topic `compacted` is compacted").await;
    brokers.create("wide", 2, &[]).await;
    brokers.create("wide.baseline", 1, &[]).await;
    let wide = launcher(&servers, &[("topic", "wide")]);
    says(wide.start("d"), "`wide.baseline` has 1 partitions and `wide` has 2").await;

    // A wrong password is said; with the right one the queue is moved.
    let sasl = format!(
        "{{bootstrap.servers: '{}', security.protocol: sasl_plaintext, sasl.mechanism: PLAIN, sasl.username: skycap}}",
        kafka.sasl_servers()
    );
    brokers.create("orders", 1, &[]).await;
    let launcher = launcher(&servers, &[("kafka", &sasl)]);
    launcher.set_secret("sasl.password", "wrong");
    let splitter = launcher.start("e");
    splitter.wait_until_it_says("do not answer").await;
    splitter.wait_until_it_says("uthentication").await;
    drop(splitter);
    launcher.set_secret("sasl.password", PASSWORD);
    launcher.start("f").wait_until_ready().await;
}

#[test]
fn a_config_map_that_is_invalid_ends_the_program_with_the_field() {
    let launcher = Launcher::new("http://127.0.0.1:9", "127.0.0.1:9", &[("unread", "keep")]);
    let output = launcher.command(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("error: the queue `shop/orders` is invalid"), "{said}");
    assert!(said.contains("data.unread") && said.contains("`report` or `requeue`"), "{said}");
}
