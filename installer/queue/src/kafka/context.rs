//! What librdkafka tells a client: errors, log lines, assignments and failed deliveries.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rdkafka::{
    ClientContext, Message as _,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, ConsumerContext, Rebalance},
    error::{KafkaError, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::ProducerContext,
    topic_partition_list::TopicPartitionListElem,
};

/// The context of all clients of a splitter.
#[derive(Debug, Clone, Default)]
pub struct Context {
    shared: Arc<Shared>,
    last_error: Arc<Mutex<Option<String>>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The partitions of the queue's topic that this splitter owns.
    assigned: Mutex<BTreeSet<i32>>,
    is_member: AtomicBool,
    /// How many times the assignment has changed.
    generation: AtomicU64,
    failures: Mutex<Vec<Failure>>,
}

/// A message that was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its index in the batch.
    pub index: usize,
    /// Why.
    pub code: RDKafkaErrorCode,
}

impl Context {
    /// The context of a client that is not a member of the splitters' group.
    #[must_use]
    pub fn for_bystander(&self) -> Self {
        Self { shared: Arc::default(), last_error: self.last_error.clone() }
    }

    /// How many times the assignment has changed.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// The partitions that this splitter owns.
    #[must_use]
    pub fn assigned(&self) -> BTreeSet<i32> {
        lock(&self.shared.assigned).clone()
    }

    /// Whether this splitter has its part of the partitions, which is none if there are more splitters.
    #[must_use]
    pub fn is_member(&self) -> bool {
        self.shared.is_member.load(Ordering::Relaxed)
    }

    /// Takes the failed deliveries.
    #[must_use]
    pub fn take_failures(&self) -> Vec<Failure> {
        std::mem::take(&mut *lock(&self.shared.failures))
    }

    /// Notes a message that librdkafka does not take.
    pub fn fail(&self, index: usize, code: RDKafkaErrorCode) {
        lock(&self.shared.failures).push(Failure { index, code });
    }

    /// What librdkafka said last of a connection that does not work.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        lock(&self.last_error).clone()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // A broker that is away would fill the log, so only the last reason is kept.
        tracing::debug!(target: "librdkafka", ?level, "{facility}: {message}");
        if facility == "FAIL" {
            let (_, reason) = message.split_once("]: ").unwrap_or_default();
            let reason = if reason.is_empty() { message } else { reason };
            // How long it took differs each time.
            let (reason, _) = reason.split_once(" (after ").unwrap_or((reason, ""));
            *lock(&self.last_error) = Some(reason.to_owned());
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", "{error}: {reason}");
    }
}

impl ConsumerContext for Context {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let mut assigned = lock(&self.shared.assigned);
        match rebalance {
            Rebalance::Assign(partitions) => {
                let elements = partitions.elements();
                assigned.extend(elements.iter().map(TopicPartitionListElem::partition));
            }
            Rebalance::Revoke(partitions) => {
                for element in partitions.elements() {
                    assigned.remove(&element.partition());
                }
            }
            Rebalance::Error(error) => tracing::warn!(%error, "a rebalance has failed"),
        }
        self.shared.is_member.store(true, Ordering::Relaxed);
        tracing::info!(assigned = ?*assigned, "the assignment has changed");
        self.shared.generation.fetch_add(1, Ordering::Release);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        if let Err((error, message)) = result {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            tracing::debug!(topic = message.topic(), %error, "a message was not written");
            self.fail(index, code);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
