//! Forwarding a batch with its offsets, in one transaction.

use std::{
    collections::BTreeSet,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    Message as _,
    consumer::Consumer as _,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::BorrowedMessage,
    producer::{BaseRecord, Producer as _},
};

use super::{
    batch::{Batch, MessageHeaders},
    connection::{Connection, Reader, TIMEOUT, Writer},
    context::Context,
    gaps::Gaps,
    obstacles::{Obstacles, Place},
};
use crate::{
    queue::{Fatal, Moved, Queue, WAIT},
    settings::Settings,
    table::{Table, Target},
};

/// A topic of Kafka whose messages are moved.
pub struct KafkaQueue {
    pub(super) topic: String,
    /// Shared with the batches, which borrow from it.
    pub(super) reader: Arc<Reader>,
    writer: Writer,
    pub(super) context: Context,
    pub(super) obstacles: Obstacles,
    pub(super) gaps: Gaps,
    pub(super) generation: u64,
}

impl KafkaQueue {
    /// Joins the group of the splitters. Whatever another process has left open under the name
    /// `transactional_id` is aborted, and that process cannot write any more.
    ///
    /// # Errors
    /// If a property is invalid, or the brokers do not answer.
    pub fn open(
        connection: &Connection,
        settings: &Settings,
        transactional_id: &str,
        batch_bytes: usize,
    ) -> KafkaResult<Self> {
        let reader = Arc::new(connection.reader(&settings.own_group())?);
        let writer = connection.writer(transactional_id, batch_bytes)?;
        until_done(|| writer.init_transactions(TIMEOUT))?;
        let topic = settings.queue.topic.clone();
        reader.subscribe(&[&topic])?;
        let context = connection.context.clone();
        let (obstacles, gaps) = (Obstacles::default(), Gaps::default());
        Ok(Self { topic, reader, writer, context, obstacles, gaps, generation: 0 })
    }

    /// Where each message goes.
    fn decide(&self, batch: &Batch<'_>, table: &Table, now: Instant) -> Vec<Arc<Target>> {
        let decide = |message: &BorrowedMessage<'_>| {
            let target = table.target(&MessageHeaders(message));
            let detours = || self.obstacles.detours(place(message), &target.topic, now);
            let is_open = self.obstacles.is_empty() || target.sandbox.is_none() || !detours();
            if is_open { target.clone() } else { table.baseline().clone() }
        };
        batch.messages.iter().map(decide).collect()
    }

    fn forward(&self, batch: &Batch<'_>, targets: &[Arc<Target>]) -> KafkaResult<()> {
        self.writer.begin_transaction()?;
        for (index, (message, target)) in batch.messages.iter().zip(targets).enumerate() {
            self.send(message, &target.topic, index)?;
        }
        let offsets = batch.offsets_after(&self.topic)?;
        let group = self.reader.group_metadata().ok_or(KafkaError::NoMessageReceived)?;
        until_done(|| self.writer.send_offsets_to_transaction(&offsets, &group, TIMEOUT))?;
        until_done(|| self.writer.commit_transaction(TIMEOUT))
    }

    fn send(&self, message: &BorrowedMessage<'_>, topic: &str, index: usize) -> KafkaResult<()> {
        let mut record = BaseRecord::with_opaque_to(topic, index).partition(message.partition());
        record.key = message.key();
        record.payload = message.payload();
        record.timestamp = message.timestamp().to_millis();
        record.headers = message.headers().map(rdkafka::message::BorrowedHeaders::detach);
        loop {
            match self.writer.send(record) {
                Ok(()) => return Ok(()),
                Err((error, back)) => {
                    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                    if code != RDKafkaErrorCode::QueueFull {
                        self.context.fail(index, code);
                        return Err(error);
                    }
                    record = back;
                    thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    /// Ends a transaction that cannot be committed. Its messages are read again.
    fn abort(
        &mut self,
        batch: &Batch<'_>,
        targets: &[Arc<Target>],
        error: &KafkaError,
    ) -> Result<Moved, Fatal> {
        if is_fatal(error) || self.writer.client().fatal_error().is_some() {
            return Err(Fatal(format!("the transactions have failed: {error}")));
        }
        until_done(|| self.writer.abort_transaction(TIMEOUT))
            .map_err(|error| Fatal(format!("a transaction cannot be aborted: {error}")))?;
        tracing::debug!(%error, "a transaction was aborted, and is tried again");
        batch.rewind(&self.reader);
        let refused = self.note_refusals(batch, targets);
        Ok(Moved { aborted: true, refused, waiting: self.obstacles.waiting(), ..Moved::default() })
    }

    fn note_moved(&mut self, batch: &Batch<'_>, targets: Vec<Arc<Target>>) -> Moved {
        if !self.obstacles.is_empty() {
            for (partition, last) in batch.last_offsets() {
                self.obstacles.moved(partition, last, Instant::now());
            }
        }
        let mut messages: Vec<(Arc<Target>, u64)> = Vec::new();
        for target in targets {
            match messages.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &target)) {
                Some((_, count)) => *count += 1,
                None => messages.push((target, 1)),
            }
        }
        Moved { messages, waiting: self.obstacles.waiting(), ..Moved::default() }
    }
}

impl Queue for KafkaQueue {
    fn step(&mut self, table: &mut dyn FnMut() -> Arc<Table>) -> Result<Moved, Fatal> {
        let reader = self.reader.clone();
        let mut batch = match Batch::read(&reader, &self.context) {
            Ok(batch) => batch,
            Err(KafkaError::MessageConsumptionFatal(code)) => {
                return Err(Fatal(format!("the topic cannot be read: {code}")));
            }
            Err(error) => {
                tracing::warn!(%error, "the topic cannot be read now");
                Batch::default()
            }
        };
        self.resume();
        if self.gaps.find(&batch) {
            tracing::warn!(
                "`{}` is written in transactions: what one of them has written arrives as several",
                self.topic
            );
        }
        if !self.obstacles.is_empty() {
            let mut tried = BTreeSet::new();
            batch.retain(&reader, |message| {
                let partition = message.partition();
                !self.obstacles.is_careful(partition) || tried.insert(partition)
            });
        }
        if batch.messages.is_empty() {
            return Ok(Moved { waiting: self.obstacles.waiting(), ..Moved::default() });
        }
        let targets = self.decide(&batch, &table(), Instant::now());
        drop(self.context.take_failures());
        match self.forward(&batch, &targets) {
            Ok(()) => Ok(self.note_moved(&batch, targets)),
            Err(error) => self.abort(&batch, &targets, &error),
        }
    }
}

pub(super) fn place(message: &BorrowedMessage<'_>) -> Place {
    Place { partition: message.partition(), offset: message.offset() }
}

/// Repeats what the brokers have not finished yet, such as while one of them restarts.
pub(super) fn until_done(mut attempt: impl FnMut() -> KafkaResult<()>) -> KafkaResult<()> {
    loop {
        match attempt() {
            Err(KafkaError::Transaction(error)) if error.is_retriable() => {
                tracing::debug!(%error, "the brokers have not finished");
                thread::sleep(WAIT);
            }
            result => return result,
        }
    }
}

fn is_fatal(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => error.is_fatal(),
        KafkaError::MessageProduction(code) => *code == RDKafkaErrorCode::Fatal,
        _ => false,
    }
}
