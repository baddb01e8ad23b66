//! Gaps between the offsets of messages: the ends of transactions lie there.

use std::collections::BTreeMap;

use rdkafka::Message as _;

use super::batch::Batch;

/// What is known of the gaps of a topic.
#[derive(Debug, Default)]
pub struct Gaps {
    /// The offset behind the last message of each partition.
    next: BTreeMap<i32, i64>,
    found: bool,
}

impl Gaps {
    /// Looks for the first gap of the topic. Returns whether it is in this batch.
    pub fn find(&mut self, batch: &Batch<'_>) -> bool {
        if self.found {
            return false;
        }
        for message in &batch.messages {
            let next = self.next.insert(message.partition(), message.offset() + 1);
            // An aborted batch is read again, from lower offsets.
            self.found |= next.is_some_and(|next| message.offset() > next);
        }
        self.found
    }

    /// Forgets the partitions: another splitter may have read on.
    pub fn forget_partitions(&mut self) {
        self.next.clear();
    }
}
