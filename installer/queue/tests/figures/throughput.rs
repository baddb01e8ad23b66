//! How many messages a second: a plain consume-and-produce of the same client, and the splitter.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig, Message as _,
    consumer::{BaseConsumer, Consumer as _},
    message::{BorrowedHeaders, Header, OwnedHeaders},
    producer::{BaseRecord, Producer as _},
};

use super::{BYTES, PARTITIONS, row, rules};
use crate::{
    cluster::{Brokers, PATIENCE},
    load::producer,
    rules_server::RulesServer,
    splitter::{Launcher, Splitter},
};

/// Measures each way in turn, several times, and prints the medians.
pub(crate) async fn measure(brokers: &Brokers) {
    brokers.create("source", PARTITIONS, &[]).await;
    fill(brokers);
    let (mut plain, mut none, mut one, mut memory) = (vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let topic = format!("plain-{round}");
        brokers.create(&topic, PARTITIONS, &[]).await;
        plain.push(copy(brokers, &topic));
        for (has_sandbox, rates) in [(false, &mut none), (true, &mut one)] {
            let (rate, peak) = split(brokers, has_sandbox).await;
            rates.push(rate);
            memory.push(peak);
        }
    }
    let [plain, none, one] = [plain, none, one].map(median);
    let text = |rate: f64| vec![format!("{rate:.0}/s"), format!("{:.0} %", 100.0 * rate / plain)];
    row("plain consume and produce, no transaction", &text(plain));
    row("splitter, no sandbox on", &text(none));
    row("splitter, half of the messages in a sandbox", &text(one));
    let peak = memory.into_iter().fold(0.0, f64::max);
    row("splitter, peak of memory", &[format!("{peak:.0} MB"), String::new()]);
}

/// Writes the messages that each way moves.
fn fill(brokers: &Brokers) {
    let (producer, payload) = (producer(&brokers.servers), "x".repeat(BYTES));
    for number in 0..MESSAGES {
        let partition = i32::try_from(number % u64::try_from(PARTITIONS).unwrap()).unwrap();
        let key = if (number / 6) % 2 == 0 { "pr-1" } else { "pr-2" };
        let baggage = format!("user=1,sandbox={key}");
        let headers = OwnedHeaders::new().insert(Header { key: "baggage", value: Some(&baggage) });
        let mut record = BaseRecord::to("source")
            .partition(partition)
            .key("customer")
            .payload(&payload)
            .headers(headers);
        while let Err((_, back)) = producer.send(record) {
            record = back;
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    producer.flush(PATIENCE).unwrap();
}

/// Copies all messages without transactions, and returns how many a second.
fn copy(brokers: &Brokers, target: &str) -> f64 {
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &brokers.servers)
        .set("group.id", target)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    reader.subscribe(&["source"]).unwrap();
    let producer = producer(&brokers.servers);
    let (mut start, mut count) = (None, 0);
    while count < MESSAGES {
        let Some(message) = reader.poll(PATIENCE) else { continue };
        let message = message.unwrap();
        start.get_or_insert_with(Instant::now);
        let mut record = BaseRecord::<[u8], [u8]>::to(target).partition(message.partition());
        record.key = message.key();
        record.payload = message.payload();
        record.headers = message.headers().map(BorrowedHeaders::detach);
        while let Err((_, back)) = producer.send(record) {
            record = back;
            std::thread::sleep(Duration::from_millis(1));
        }
        count += 1;
    }
    producer.flush(PATIENCE).unwrap();
    MESSAGES as f64 / start.unwrap().elapsed().as_secs_f64()
}

/// Lets a splitter move all messages. Returns how many a second, and its peak of memory in MB.
async fn split(brokers: &Brokers, has_sandbox: bool) -> (f64, f64) {
    let name = if has_sandbox { "one" } else { "none" };
    let own = format!("skycap.shop.{name}");
    let server = RulesServer::start(&rules(has_sandbox)).await;
    let fields = [("topic", "source"), ("group", name)];
    let launcher = Launcher::new(&server.url, &brokers.servers, &fields);
    // The sandbox's topic is prepared before there is anything to move.
    brokers.commit(
        &own,
        "source",
        &brokers.ends("source", PARTITIONS).into_values().collect::<Vec<_>>(),
    );
    let splitter = launcher.start_queue(name, "a");
    splitter.wait_until_ready().await;
    splitter.wait_for_metric("skycap_queue_sandboxes", f64::from(u8::from(has_sandbox))).await;
    splitter.stop().await;
    brokers.commit(&own, "source", &[0; PARTITIONS as usize]);
    let splitter = launcher.start_queue(name, "a");
    let (mut first, mut moved) = (None, 0.0);
    let deadline = Instant::now() + Duration::from_secs(300);
    while moved < MESSAGES as f64 {
        moved = total(&splitter).await;
        if moved > 0.0 {
            first.get_or_insert_with(|| (Instant::now(), moved));
        }
        assert!(Instant::now() < deadline, "{moved} were moved:\n{}", splitter.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (start, before) = first.unwrap();
    let rate = (moved - before) / start.elapsed().as_secs_f64();
    let peak = splitter.peak_memory();
    splitter.stop().await;
    (rate, peak)
}

async fn total(splitter: &Splitter) -> f64 {
    let text = splitter.get("/metrics").await;
    let counters = text.lines().filter(|line| line.starts_with("skycap_queue_messages_total"));
    counters.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

const ROUNDS: usize = 3;
const MESSAGES: u64 = 150_000;
