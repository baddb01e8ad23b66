//! Clients of the brokers, with the properties that exactness needs.

use std::time::Duration;

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
    config::FromClientConfigAndContext as _,
    consumer::BaseConsumer,
    error::KafkaResult,
    producer::ThreadedProducer,
};

use super::context::Context;
use crate::settings::Settings;

/// A consumer of the splitter.
pub type Reader = BaseConsumer<Context>;
/// The transactional producer of the splitter.
pub type Writer = ThreadedProducer<Context>;

/// How the brokers are reached.
#[derive(Debug, Clone)]
pub struct Connection {
    properties: Vec<(String, String)>,
    /// What the clients say of their connections.
    pub context: Context,
}

impl Connection {
    /// The connection that the settings describe.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let client = format!("skycap-queue {}/{}", settings.namespace, settings.name);
        let own = [("client.id".to_owned(), client)].into_iter();
        let properties =
            own.chain(settings.queue.kafka.clone()).chain(settings.secret.clone()).collect();
        Self { properties, context: Context::default() }
    }

    /// The consumer that reads the queue's topic as a member of `group`.
    ///
    /// # Errors
    /// If a property is invalid.
    pub fn reader(&self, group: &str) -> KafkaResult<Reader> {
        Reader::from_config_and_context(
            &self.consumer(group, Isolation::Committed),
            self.context.clone(),
        )
    }

    /// A consumer that is no member of `group`, for its offsets and for what is in the cluster.
    ///
    /// # Errors
    /// If a property is invalid.
    pub fn bystander(&self, group: &str, isolation: Isolation) -> KafkaResult<Reader> {
        let config = self.consumer(group, isolation);
        Reader::from_config_and_context(&config, self.context.for_bystander())
    }

    /// A bystander that says when it has read a partition to its end.
    ///
    /// # Errors
    /// If a property is invalid.
    pub fn finite_reader(&self, group: &str) -> KafkaResult<Reader> {
        let mut config = self.consumer(group, Isolation::Committed);
        config.set("enable.partition.eof", "true");
        Reader::from_config_and_context(&config, self.context.for_bystander())
    }

    fn consumer(&self, group: &str, isolation: Isolation) -> ClientConfig {
        // What a burst may hold in memory: the defaults of librdkafka are 64 MB and more.
        let mut config = self.config(&[
            ("queued.max.messages.kbytes", "8192"),
            ("fetch.max.bytes", "8388608"),
            // Such a short queue is often full, and a partition would then wait a second for its next fetch.
            ("fetch.queue.backoff.ms", "10"),
            ("fetch.wait.max.ms", "100"),
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "1000"),
        ]);
        config
            .set("group.id", group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("isolation.level", isolation.label())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("allow.auto.create.topics", "false")
            // A partition without a committed offset is new: adoption has committed all others.
            .set("auto.offset.reset", "earliest");
        config
    }

    /// The producer of the transactions of `id`. `batch_bytes` is what each target's topic takes at once.
    ///
    /// # Errors
    /// If a property is invalid.
    pub fn writer(&self, id: &str, batch_bytes: usize) -> KafkaResult<Writer> {
        Writer::from_config_and_context(&self.producer(id, batch_bytes), self.context.clone())
    }

    /// A producer beside it, whose failures are not those of a batch.
    ///
    /// # Errors
    /// If a property is invalid.
    pub fn bystander_writer(&self, id: &str, batch_bytes: usize) -> KafkaResult<Writer> {
        let config = self.producer(id, batch_bytes);
        Writer::from_config_and_context(&config, self.context.for_bystander())
    }

    fn producer(&self, id: &str, batch_bytes: usize) -> ClientConfig {
        let mut config = self.config(&[
            // A transaction ends with a flush, which does not linger.
            ("linger.ms", "20"),
            ("batch.num.messages", "10000"),
            ("message.max.bytes", "104857600"),
            ("queue.buffering.max.messages", "50000"),
        ]);
        config
            .set("batch.size", batch_bytes.to_string())
            .set("transactional.id", id)
            // The brokers end the transaction of a splitter that is gone after this time; until then,
            // consumers wait for it.
            .set("transaction.timeout.ms", "10000")
            .set("enable.idempotence", "true");
        config
    }

    /// A client for topics.
    ///
    /// # Errors
    /// If a property is invalid.
    pub fn admin(&self) -> KafkaResult<AdminClient<Context>> {
        AdminClient::from_config_and_context(&self.config(&[]), self.context.for_bystander())
    }

    /// The defaults, and then the owner's properties.
    fn config(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }
}

/// Which messages a consumer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Those of committed transactions.
    Committed,
    /// Also those of open and aborted ones.
    Uncommitted,
}

impl Isolation {
    const fn label(self) -> &'static str {
        match self {
            Self::Committed => "read_committed",
            Self::Uncommitted => "read_uncommitted",
        }
    }
}

/// How long a question to the brokers may take.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// The options of requests about topics.
#[must_use]
pub fn admin_options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT))
}
