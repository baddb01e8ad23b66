//! The records of the topics that skycap has made: offsets of a group that has no member.
//!
//! A record is the metadata of the group's offset for partition 0 of the topic. Thus it lies in Kafka, every
//! splitter reads the same, and it goes with its topic.

use std::collections::BTreeMap;

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer as _},
    error::KafkaResult,
};
use skycap::table::queue::Unread;

use super::connection::{Connection, Isolation, Reader, TIMEOUT};
use crate::{life::Record, settings::Settings};

/// The records of a queue.
pub struct Records(Reader);

impl Records {
    /// The records of the queue that the settings describe.
    ///
    /// # Errors
    /// If a property is invalid.
    pub fn new(connection: &Connection, settings: &Settings) -> KafkaResult<Self> {
        Ok(Self(connection.bystander(&settings.record_group(), Isolation::Committed)?))
    }

    /// The client, for questions about the cluster.
    #[must_use]
    pub const fn client(&self) -> &Reader {
        &self.0
    }

    /// The records of those of `topics` that have one.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub fn read(&self, topics: &[String]) -> KafkaResult<BTreeMap<String, Record>> {
        let mut wanted = TopicPartitionList::new();
        for topic in topics {
            wanted.add_partition(topic, 0);
        }
        if wanted.count() == 0 {
            return Ok(BTreeMap::new());
        }
        let found = self.0.committed_offsets(wanted, TIMEOUT)?;
        let elements = found.elements();
        let recorded = elements.iter().filter(|element| element.error().is_ok());
        Ok(recorded
            .filter_map(|element| Some((element.topic().to_owned(), parse(element.metadata())?)))
            .collect())
    }

    /// Writes the record of a topic.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub fn write(&self, topic: &str, record: Record) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, 0).set_metadata(text(record));
        list.set_partition_offset(topic, 0, Offset::Offset(0))?;
        self.0.commit(&list, CommitMode::Sync)
    }
}

const TEXTS: [(&str, Record); 4] = [
    ("prepared", Record::Prepared(Unread::Report)),
    ("prepared, requeue", Record::Prepared(Unread::Requeue)),
    ("ending", Record::Ending(Unread::Report)),
    ("ending, requeue", Record::Ending(Unread::Requeue)),
];

fn parse(text: &str) -> Option<Record> {
    TEXTS.iter().find(|(known, _)| *known == text).map(|(_, record)| *record)
}

fn text(record: Record) -> &'static str {
    TEXTS.iter().find(|(_, known)| *known == record).map_or("", |(text, _)| text)
}
