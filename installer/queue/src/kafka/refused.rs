//! What is done about refused messages: the waiting and resuming of partitions.

use std::{sync::Arc, time::Instant};

use rdkafka::{TopicPartitionList, consumer::Consumer as _, error::RDKafkaErrorCode};

use super::{
    batch::Batch,
    obstacles::{Consequence, Neighbors, Place, Refusing, is_refusal},
    transaction::{KafkaQueue, place},
};
use crate::table::Target;

impl KafkaQueue {
    /// Notes the messages of an aborted batch that a topic refuses. Returns how many go to the baseline.
    pub(super) fn note_refusals(&mut self, batch: &Batch<'_>, targets: &[Arc<Target>]) -> u64 {
        let (now, last) = (Instant::now(), batch.last_offsets());
        let mut refused = 0;
        for failure in self.context.take_failures() {
            let (Some(message), Some(target)) =
                (batch.messages.get(failure.index), targets.get(failure.index))
            else {
                continue;
            };
            if !is_refusal(failure.code) {
                continue;
            }
            let (place, topic) = (place(message), &target.topic);
            let neighbors = match last.get(&place.partition) {
                Some(last) if !batch.is_alone(place.partition) => Neighbors::Until(*last),
                _ => Neighbors::None,
            };
            let refusing = match target.sandbox {
                Some(_) => Refusing::Sandbox(topic, neighbors),
                None => Refusing::Baseline(neighbors),
            };
            let consequence = self.obstacles.refuse(place, refusing, failure.code, now);
            self.report(place, topic, failure.code, consequence);
            refused += u64::from(consequence == Consequence::Detour);
        }
        refused
    }

    fn report(&self, place: Place, topic: &str, code: RDKafkaErrorCode, consequence: Consequence) {
        let Place { partition, offset } = place;
        match consequence {
            Consequence::Careful => {}
            Consequence::Detour => tracing::warn!(
                partition,
                offset,
                "`{topic}` refuses a message: {code}; it goes to the baseline"
            ),
            Consequence::Wait => {
                tracing::error!(
                    partition,
                    offset,
                    "`{topic}` refuses a message: {code}; the partition waits until the topic takes it"
                );
                let mut partitions = TopicPartitionList::new();
                partitions.add_partition(&self.topic, partition);
                if let Err(error) = self.reader.pause(&partitions) {
                    tracing::debug!(%error, "the partition is no longer assigned");
                }
            }
        }
    }

    /// Lets the partitions go on whose wait is over, and forgets all of them after a rebalance.
    pub(super) fn resume(&mut self) {
        let mut over = self.obstacles.take_over(Instant::now());
        if self.context.generation() != self.generation {
            self.generation = self.context.generation();
            over.extend(self.obstacles.forget_partitions());
            self.gaps.forget_partitions();
        }
        for partition in over {
            let mut partitions = TopicPartitionList::new();
            partitions.add_partition(&self.topic, partition);
            if let Err(error) = self.reader.resume(&partitions) {
                tracing::debug!(%error, "the partition is no longer assigned");
            }
        }
    }
}
