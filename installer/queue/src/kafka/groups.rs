//! Consumer groups: their members, what these read, and their offsets.

use std::collections::BTreeMap;

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer as _},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};

use super::connection::{Connection, Isolation, Reader, TIMEOUT};

/// A consumer group, seen from outside.
pub struct Group {
    client: Reader,
}

impl Group {
    /// A group.
    ///
    /// # Errors
    /// If a property is invalid.
    pub fn new(connection: &Connection, name: &str) -> KafkaResult<Self> {
        Ok(Self { client: connection.bystander(name, Isolation::Committed)? })
    }

    /// The client, which is no member.
    #[must_use]
    pub const fn client(&self) -> &Reader {
        &self.client
    }

    /// The offset of each partition that has one.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub fn offsets(&self, topic: &str, partitions: i32) -> KafkaResult<BTreeMap<i32, i64>> {
        let mut wanted = TopicPartitionList::new();
        for partition in 0..partitions {
            wanted.add_partition(topic, partition);
        }
        let committed = self.client.committed_offsets(wanted, TIMEOUT)?;
        let mut offsets = BTreeMap::new();
        for element in committed.elements() {
            element.error()?;
            if let Offset::Offset(offset) = element.offset() {
                offsets.insert(element.partition(), offset);
            }
        }
        Ok(offsets)
    }

    /// Commits these offsets, which the brokers take only while the group has no member.
    ///
    /// # Errors
    /// If the group has members, or the brokers do not answer.
    pub fn commit(&self, topic: &str, offsets: &BTreeMap<i32, i64>) -> KafkaResult<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        self.client.commit(&list, CommitMode::Sync)
    }
}

/// Who reads as a member of `group`. `client` is any client of the brokers.
///
/// # Errors
/// If the brokers do not answer.
pub fn readers(
    client: &Reader,
    connection: &Connection,
    group: &str,
    topic: &str,
    partitions: i32,
) -> KafkaResult<Readers> {
    match members(client, group)? {
        Members::Known(topics) if topics.is_empty() => Ok(Readers::None),
        Members::Known(topics) => {
            let reads = |topics: &Option<Vec<String>>| {
                topics.as_ref().is_none_or(|topics| topics.iter().any(|name| name == topic))
            };
            Ok(if topics.iter().any(reads) { Readers::OfTopic } else { Readers::OfOthers })
        }
        // The brokers tell the members of this kind of group to newer clients only. They refuse a commit
        // from outside while there is one, so the group's own offsets are committed again.
        Members::Unknown => {
            let group = Group::new(connection, group)?;
            match group.commit(topic, &group.offsets(topic, partitions)?) {
                Ok(()) => Ok(Readers::None),
                Err(error) if is_refused(&error) => Ok(Readers::OfTopic),
                Err(error) => Err(error),
            }
        }
    }
}

/// Who reads as a member of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// It has no member.
    None,
    /// Its members read other topics.
    OfOthers,
    /// A member reads the topic, or may do so.
    OfTopic,
}

/// The members of a group.
enum Members {
    /// What each member reads; `None` if that cannot be told.
    Known(Vec<Option<Vec<String>>>),
    /// A group of the protocol of KIP-848.
    Unknown,
}

fn members(client: &Reader, group: &str) -> KafkaResult<Members> {
    let groups = client.fetch_group_list(Some(group), TIMEOUT)?;
    let Some(found) = groups.groups().iter().find(|found| found.name() == group) else {
        return Ok(Members::Known(Vec::new()));
    };
    if found.members().is_empty() && found.state() == "Dead" {
        return Ok(Members::Unknown);
    }
    let topics = found.members().iter().map(|member| subscription(member.metadata()?));
    Ok(Members::Known(topics.collect()))
}

/// The topics in the metadata of a member (Kafka's ConsumerProtocolSubscription, every version).
fn subscription(metadata: &[u8]) -> Option<Vec<String>> {
    let (_version, rest) = metadata.split_first_chunk::<2>()?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
    let mut topics = Vec::new();
    for _ in 0..count {
        let (length, name) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        topics.push(String::from_utf8(name.get(..length)?.to_vec()).ok()?);
        rest = name.get(length..)?;
    }
    Some(topics)
}

/// Whether the brokers refuse a commit because the group has members.
#[must_use]
pub fn is_refused(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::UnknownMemberId
                | RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::RebalanceInProgress
        )
    )
}

#[cfg(test)]
mod tests {
    use super::subscription;

    #[test]
    fn a_subscription_is_read_in_every_version_and_never_beyond_its_end() {
        let bytes = b"\0\x01\0\0\0\x02\0\x06orders\0\x01b\xff\xff\xff\xff";
        assert_eq!(subscription(bytes), Some(vec!["orders".to_owned(), "b".to_owned()]));
        for end in 0..17 {
            assert_eq!(subscription(&bytes[..end]), None, "{end}");
        }
        assert_eq!(subscription(b"\0\0\xff\xff\xff\xff"), None);
    }
}
