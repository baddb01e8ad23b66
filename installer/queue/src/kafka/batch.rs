//! Reading a batch of messages.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::Consumer as _,
    error::{KafkaError, KafkaResult},
    message::{BorrowedMessage, Headers as _},
};

use super::{
    connection::{Reader, TIMEOUT},
    context::Context,
};
use crate::{
    queue::WAIT,
    table::{Headers, join},
};

/// Messages in the order in which they were read. All of them are of one assignment.
#[derive(Default)]
pub struct Batch<'r> {
    /// The messages.
    pub messages: Vec<BorrowedMessage<'r>>,
    bytes: usize,
}

impl<'r> Batch<'r> {
    /// Reads what has arrived: waits for the first message, and not for the others.
    ///
    /// # Errors
    /// If the consumer has failed. What was read before the error is read again.
    pub fn read(reader: &'r Reader, context: &Context) -> KafkaResult<Self> {
        let mut batch = Self::default();
        let mut generation = context.generation();
        let mut wait = WAIT;
        while batch.messages.len() < MESSAGES && batch.bytes < BYTES {
            let polled = reader.poll(wait);
            // `poll` runs the rebalance. What was read before it is read again, by whoever owns it now.
            if context.generation() != generation {
                generation = context.generation();
                batch.rewind(reader);
                batch = Self::default();
            }
            match polled {
                None => break,
                Some(Ok(message)) => {
                    batch.bytes += message.payload_len() + message.key_len() + OVERHEAD;
                    batch.messages.push(message);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) => {
                    batch.rewind(reader);
                    return Err(error);
                }
            }
            wait = Duration::ZERO;
        }
        Ok(batch)
    }

    /// The last offset of each partition.
    #[must_use]
    pub fn last_offsets(&self) -> BTreeMap<i32, i64> {
        self.messages.iter().map(|message| (message.partition(), message.offset())).collect()
    }

    /// Whether the batch has one message of the partition.
    #[must_use]
    pub fn is_alone(&self, partition: i32) -> bool {
        self.messages.iter().filter(|message| message.partition() == partition).count() == 1
    }

    /// What is committed with the batch: the offsets behind its messages.
    ///
    /// # Errors
    /// If an offset is out of range.
    pub fn offsets_after(&self, topic: &str) -> KafkaResult<TopicPartitionList> {
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in self.last_offsets() {
            offsets.add_partition_offset(topic, partition, Offset::Offset(offset + 1))?;
        }
        Ok(offsets)
    }

    /// Lets the reader read the batch again. A partition that is no longer assigned is left alone.
    pub fn rewind(&self, reader: &Reader) {
        let mut first: BTreeMap<_, i64> = BTreeMap::new();
        for message in &self.messages {
            let place = (message.topic(), message.partition());
            first.entry(place).or_insert_with(|| message.offset());
        }
        for ((topic, partition), offset) in first {
            if let Err(error) = reader.seek(topic, partition, Offset::Offset(offset), TIMEOUT) {
                tracing::debug!(partition, %error, "the partition is no longer assigned");
            }
        }
    }

    /// Keeps only the messages that `keep` accepts, and lets the reader read the others again: they are
    /// behind the kept ones of their partitions.
    pub fn retain(&mut self, reader: &Reader, mut keep: impl FnMut(&BorrowedMessage<'r>) -> bool) {
        let mut rest = Self::default();
        for message in std::mem::take(&mut self.messages) {
            if keep(&message) {
                self.messages.push(message);
            } else {
                rest.messages.push(message);
            }
        }
        rest.rewind(reader);
    }
}

/// The headers of a message of Kafka.
pub struct MessageHeaders<'m, 'r>(pub &'m BorrowedMessage<'r>);

impl Headers for MessageHeaders<'_, '_> {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let headers = self.0.headers()?;
        let named = headers.iter().filter(|header| header.key.eq_ignore_ascii_case(name));
        join(named.filter_map(|header| header.value))
    }
}

/// How many messages a transaction has at most: it must end long before `transaction.timeout.ms`.
const MESSAGES: usize = 10_000;
/// How many bytes a transaction has at most: a splitter holds them twice.
const BYTES: usize = 8 << 20;
/// What a message costs beside its key and payload.
const OVERHEAD: usize = 100;
