//! The moments of a queue and of its sandboxes.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::{
    checker::read,
    cluster::PATIENCE,
    load::{producer, send, transactional_producer},
    shop::{PARTITIONS, Shop, payloads_of, rules},
};
use rdkafka::{
    Message as _,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    producer::Producer as _,
};
use skycap::table::{
    availability::OnUnavailable,
    queue::{Unread, rules::Rules},
};

/// Reads as a member of a group until these payloads have come, and commits.
fn consume(consumer: &BaseConsumer, payloads: &[&str]) {
    let mut missing: BTreeSet<&str> = payloads.iter().copied().collect();
    let deadline = Instant::now() + PATIENCE;
    while !missing.is_empty() {
        assert!(Instant::now() < deadline, "{missing:?} did not come");
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            let payload = std::str::from_utf8(message.payload().unwrap()).unwrap().to_owned();
            assert!(missing.remove(payload.as_str()), "`{payload}` is unexpected");
            consumer.commit_message(&message, CommitMode::Sync).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_topic_is_taken_over_and_given_back_with_nothing_lost() {
    let shop = Shop::start(&rules(&[], OnUnavailable::Baseline)).await;
    shop.write(&["1", "2", "3", "4"], None);
    // The group lags: it has read two of four.
    shop.brokers.commit("cart", "orders", &[2, 0, 0]);
    let baseline = shop.brokers.member("cart", "orders");
    shop.brokers.wait_for_member("cart", &baseline);
    let splitter = shop.launcher.start("a");
    splitter.wait_until_it_says("group `cart` still reads `orders`").await;
    let moved = splitter.metric("skycap_queue_transactions_total").await;
    assert_eq!(moved, Some(0.0));
    drop(baseline);
    splitter.wait_until_ready().await;
    shop.write(&["5"], Some("pr-1"));
    shop.expect("orders.baseline", &["3", "4", "5"]).await;

    // With `auto.offset.reset: latest`, a new consumer still sees what came before it.
    let baseline = shop.brokers.member("cart", "orders.baseline");
    consume(&baseline, &["3", "4", "5"]);
    splitter.stop().await;
    shop.write(&["6"], None);
    let mut retirement = shop.launcher.command(&["--retire"]).spawn().unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(retirement.try_wait().unwrap().is_none(), "the baseline still reads");
    drop(baseline);
    let ended = tokio::task::spawn_blocking(move || retirement.wait()).await.unwrap().unwrap();
    assert!(ended.success());
    assert_eq!(shop.brokers.offsets("cart", "orders", PARTITIONS)[&0], 5);
    consume(&shop.brokers.member("cart", "orders"), &["6"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_follow_their_sandbox_from_its_first_moment_to_its_last() {
    let shop = Shop::start(&rules(&[], OnUnavailable::Baseline)).await;
    let splitter = shop.launcher.start("a");
    splitter.wait_until_ready().await;
    shop.write(&["before"], Some("pr-1"));
    shop.expect("orders.baseline", &["before"]).await;

    // The first sandbox: until its consumer is there, its messages go to the baseline.
    shop.server.publish(&rules(&["pr-1"], OnUnavailable::Baseline));
    splitter.wait_for_metric("skycap_queue_sandboxes", 1.0).await;
    shop.write(&["nobody reads"], Some("pr-1"));
    shop.expect("orders.baseline", &["before", "nobody reads"]).await;
    let fork = shop.brokers.member("cart-pr-1", "orders.pr-1");
    shop.brokers.wait_for_member("cart-pr-1", &fork);
    shop.route(&splitter, "pr-1").await;

    // The kill switch, then the controller away: the last rules hold.
    let on = rules(&["pr-1"], OnUnavailable::Fail);
    shop.server.publish(&Rules { enabled: false, ..on.clone() });
    shop.settle().await;
    let baseline = payloads_of(&shop.brokers.servers, "orders.baseline").len();
    shop.write(&["switched off"], Some("pr-1"));
    shop.grow("orders.baseline", baseline + 1).await;
    shop.server.publish(&on);
    shop.settle().await;
    let before = payloads_of(&shop.brokers.servers, "orders.pr-1");
    let Shop { kafka, brokers, server, launcher } = shop;
    drop(server);
    let producer = producer(&brokers.servers);
    send(&producer, "orders", 0, "controller away", Some("pr-1"));
    producer.flush(PATIENCE).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while payloads_of(&brokers.servers, "orders.pr-1").len() != before.len() + 1 {
        assert!(Instant::now() < deadline, "{}", splitter.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop((kafka, launcher));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_messages_of_an_ended_sandbox_are_counted_or_go_to_the_baseline_once() {
    let mut both = rules(&["keep", "drop"], OnUnavailable::Fail);
    both.sandboxes.get_mut("keep").unwrap().unread = Some(Unread::Requeue);
    let shop = Shop::start(&both).await;
    let splitter = shop.launcher.start("a");
    splitter.wait_until_ready().await;
    splitter.wait_for_metric("skycap_queue_sandboxes", 2.0).await;
    shop.write(&["k1", "k2", "k3"], Some("keep"));
    shop.write(&["d1", "d2"], Some("drop"));
    shop.expect("orders.keep", &["k1", "k2", "k3"]).await;
    shop.expect("orders.drop", &["d1", "d2"]).await;
    // The fork reads the first one and ends.
    let fork = shop.brokers.member("cart-keep", "orders.keep");
    consume_first(&fork, "k1");
    drop(fork);
    // The splitter records what the sandboxes say before they are gone.
    shop.server.publish(&rules(&[], OnUnavailable::Baseline));
    shop.wait_for_topic("orders.keep", false).await;
    shop.wait_for_topic("orders.drop", false).await;
    splitter.wait_for_metric("skycap_queue_unread_total", 4.0).await;
    splitter.wait_for_metric("skycap_queue_requeued_total", 2.0).await;
    // A late message, and one of a sandbox that never was.
    shop.write(&["late"], Some("keep"));
    shop.write(&["unknown"], Some("pr-99"));
    shop.expect("orders.baseline", &["k2", "k3", "late", "unknown"]).await;

    // Of the same name again: a new topic, and the old messages are not in it.
    shop.server.publish(&both);
    splitter.wait_for_metric("skycap_queue_sandboxes", 2.0).await;
    shop.write(&["again"], Some("drop"));
    shop.expect("orders.drop", &["again"]).await;
    splitter.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_a_topic_refuses_is_neither_lost_nor_in_the_way_of_other_partitions() {
    let shop = Shop::start(&rules(&["pr-1"], OnUnavailable::Fail)).await;
    let splitter = shop.launcher.start("a");
    splitter.wait_until_ready().await;
    splitter.wait_for_metric("skycap_queue_sandboxes", 1.0).await;
    shop.brokers.alter("orders.pr-1", "max.message.bytes", "2000").await;
    let large = "x".repeat(5_000);
    shop.write(&["small", &large, "last"], Some("pr-1"));
    shop.expect("orders.baseline", &[&large]).await;
    shop.expect("orders.pr-1", &["small", "last"]).await;

    shop.brokers.alter("orders.baseline", "max.message.bytes", "2000").await;
    let larger = "y".repeat(6_000);
    shop.write(&["1", &larger, "2"], None);
    splitter.wait_for_metric("skycap_queue_waiting", 1.0).await;
    let producer = producer(&shop.brokers.servers);
    send(&producer, "orders", 1, "other partition", None);
    producer.flush(PATIENCE).unwrap();
    let sorted = |mut payloads: Vec<String>| {
        payloads.sort();
        payloads
    };
    let deadline = Instant::now() + PATIENCE;
    while sorted(payloads_of(&shop.brokers.servers, "orders.baseline"))
        != sorted(vec![large.clone(), "1".into(), "other partition".into()])
    {
        assert!(Instant::now() < deadline, "{}", splitter.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    shop.brokers.alter("orders.baseline", "max.message.bytes", "1000000").await;
    splitter.wait_for_metric("skycap_queue_waiting", 0.0).await;
    let of_partition_0: Vec<String> = read(&shop.brokers.servers, "orders.baseline", PARTITIONS)
        .into_iter()
        .filter(|seen| seen.partition == 0)
        .map(|seen| String::from_utf8(seen.content.payload.unwrap()).unwrap())
        .collect();
    assert_eq!(of_partition_0, [large, "1".into(), larger, "2".into()]);
}

fn consume_first(consumer: &BaseConsumer, expected: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "`{expected}` did not come");
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            assert_eq!(message.payload(), Some(expected.as_bytes()));
            return consumer.commit_message(&message, CommitMode::Sync).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_producer_has_written_in_transactions_arrives_and_that_is_said() {
    let shop = Shop::start(&rules(&[], OnUnavailable::Baseline)).await;
    let splitter = shop.launcher.start("a");
    splitter.wait_until_ready().await;
    let producer = transactional_producer(&shop.brokers.servers);
    producer.init_transactions(PATIENCE).unwrap();
    for (payload, commits) in [("1", true), ("aborted", false), ("2", true)] {
        producer.begin_transaction().unwrap();
        send(&producer, "orders", 0, payload, None);
        producer.flush(PATIENCE).unwrap();
        if commits {
            producer.commit_transaction(PATIENCE).unwrap();
        } else {
            producer.abort_transaction(PATIENCE).unwrap();
        }
    }
    shop.expect("orders.baseline", &["1", "2"]).await;
    assert!(splitter.log().contains("`orders` is written in transactions"), "{}", splitter.log());
}
