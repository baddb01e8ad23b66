//! The end of a sandbox's topic: what is unread is counted, or goes to the baseline.

use std::collections::BTreeSet;

use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::Consumer as _,
    error::{KafkaError, KafkaResult},
    message::{BorrowedHeaders, BorrowedMessage},
    producer::{BaseRecord, Producer as _},
};

use super::{
    connection::{Connection, Reader, TIMEOUT},
    groups::Group,
    topics::watermarks,
    transaction::until_done,
};

/// The messages that a group has not read.
pub struct UnreadMessages {
    reader: Reader,
    topic: String,
    partitions: i32,
}

impl UnreadMessages {
    /// Finds them, from the group's offsets to the end of each partition.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub fn open(
        connection: &Connection,
        group: &str,
        topic: &str,
        partitions: i32,
    ) -> KafkaResult<Self> {
        let offsets = Group::new(connection, group)?.offsets(topic, partitions)?;
        let reader = connection.finite_reader(group)?;
        let mut assignment = TopicPartitionList::new();
        for partition in 0..partitions {
            let offset = offsets.get(&partition).map_or(Offset::Beginning, |o| Offset::Offset(*o));
            assignment.add_partition_offset(topic, partition, offset)?;
        }
        reader.assign(&assignment)?;
        Ok(Self { reader, topic: topic.to_owned(), partitions })
    }

    /// Whether there is one.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub fn any(&self) -> KafkaResult<bool> {
        let mut any = false;
        self.each(&mut |_| {
            any = true;
            Ok(false)
        })?;
        Ok(any)
    }

    /// How many there are.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub fn count(&self) -> KafkaResult<u64> {
        let mut count = 0;
        self.each(&mut |_| {
            count += 1;
            Ok(true)
        })?;
        Ok(count)
    }

    /// Appends them to the same partitions of `target`, in transactions that also commit the group's
    /// offsets: each message goes there once, also if this is repeated. The brokers refuse while the group
    /// has members. `transactional_id` is the same for all splitters, so only the last one can do it.
    ///
    /// # Errors
    /// If the brokers do not answer, or refuse.
    pub fn requeue(
        &self,
        connection: &Connection,
        transactional_id: &str,
        batch_bytes: usize,
        target: &str,
    ) -> KafkaResult<u64> {
        let writer = connection.bystander_writer(transactional_id, batch_bytes)?;
        until_done(|| writer.init_transactions(TIMEOUT))?;
        let group = self.reader.group_metadata().ok_or(KafkaError::NoMessageReceived)?;
        let (mut open, mut count) = (TopicPartitionList::new(), 0_u64);
        let commit = |offsets: &TopicPartitionList| {
            until_done(|| writer.send_offsets_to_transaction(offsets, &group, TIMEOUT))?;
            until_done(|| writer.commit_transaction(TIMEOUT))
        };
        self.each(&mut |message| {
            if count.is_multiple_of(TRANSACTION) {
                if count > 0 {
                    commit(&std::mem::take(&mut open))?;
                }
                writer.begin_transaction()?;
            }
            let mut record = BaseRecord::with_opaque_to(target, 0).partition(message.partition());
            record.key = message.key();
            record.payload = message.payload();
            record.timestamp = message.timestamp().to_millis();
            record.headers = message.headers().map(BorrowedHeaders::detach);
            writer.send(record).map_err(|(error, _)| error)?;
            let next = Offset::Offset(message.offset() + 1);
            if open.find_partition(&self.topic, message.partition()).is_none() {
                open.add_partition(&self.topic, message.partition());
            }
            open.set_partition_offset(&self.topic, message.partition(), next)?;
            count += 1;
            Ok(true)
        })?;
        if open.count() > 0 {
            commit(&open)?;
        }
        Ok(count)
    }

    /// Whether a transaction is still open in the topic, whose messages cannot be seen yet.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub fn has_open_transaction(&self, uncommitted: &Reader) -> KafkaResult<bool> {
        let committed = watermarks(&self.reader, &self.topic, self.partitions)?;
        Ok(committed != watermarks(uncommitted, &self.topic, self.partitions)?)
    }

    /// Calls `visit` with each message until it returns false, or until the end of every partition.
    fn each(
        &self,
        visit: &mut dyn FnMut(&BorrowedMessage<'_>) -> KafkaResult<bool>,
    ) -> KafkaResult<()> {
        let mut open: BTreeSet<i32> = (0..self.partitions).collect();
        while !open.is_empty() {
            match self.reader.poll(TIMEOUT) {
                Some(Ok(message)) => {
                    if !visit(&message)? {
                        return Ok(());
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
                Some(Err(error)) => return Err(error),
                None => return Err(KafkaError::NoMessageReceived),
            }
        }
        Ok(())
    }
}

/// How many messages are requeued in a transaction.
const TRANSACTION: u64 = 5_000;
