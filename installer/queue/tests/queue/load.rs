//! The producer of a test: an idempotent one, at a steady rate, on a thread of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    error::RDKafkaErrorCode,
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer},
};

/// A producer that every broker acknowledges to, and that repeats nothing.
pub(crate) fn producer(servers: &str) -> ThreadedProducer<DefaultProducerContext> {
    ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .set("message.timeout.ms", "300000")
        .create()
        .unwrap()
}

/// A producer of transactions.
pub(crate) fn transactional_producer(servers: &str) -> ThreadedProducer<DefaultProducerContext> {
    ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("transactional.id", "somebody")
        .create()
        .unwrap()
}

/// Writes one message, with this routing key.
pub(crate) fn send(
    producer: &ThreadedProducer<DefaultProducerContext>,
    topic: &str,
    partition: i32,
    payload: &str,
    key: Option<&str>,
) {
    let mut headers = OwnedHeaders::new()
        .insert(Header { key: "trace", value: Some(payload) })
        .insert(Header { key: "empty", value: None::<&str> });
    if let Some(key) = key {
        let baggage = format!("user=1,sandbox={key}");
        headers = headers.insert(Header { key: "baggage", value: Some(&baggage) });
    }
    let mut record = BaseRecord::to(topic)
        .partition(partition)
        .key("customer")
        .payload(payload)
        .headers(headers);
    while let Err((error, back)) = producer.send(record) {
        assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{error}");
        record = back;
        thread::sleep(Duration::from_millis(5));
    }
}

/// A producer that runs.
pub(crate) struct Load {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Load {
    /// Writes to `orders`, with the routing keys in turn: `count` messages, `rate` a second.
    pub(crate) fn start(
        servers: &str,
        partitions: i32,
        count: u64,
        rate: u64,
        keys: Vec<Option<String>>,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let producer = producer(servers);
        let thread = thread::spawn({
            let stop = stop.clone();
            move || {
                let start = Instant::now();
                for number in 0..count {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let due = Duration::from_micros(number * 1_000_000 / rate);
                    thread::sleep(due.saturating_sub(start.elapsed()));
                    // Every key comes to every partition.
                    let turn = number / u64::try_from(partitions).unwrap();
                    let index = usize::try_from(turn).unwrap() % keys.len();
                    let partition =
                        i32::try_from(number % u64::try_from(partitions).unwrap()).unwrap();
                    let payload = format!("message {number}");
                    send(&producer, "orders", partition, &payload, keys[index].as_deref());
                }
                producer.flush(Duration::from_secs(120)).unwrap();
            }
        });
        Self { thread: Some(thread), stop }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    pub(crate) fn join(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
