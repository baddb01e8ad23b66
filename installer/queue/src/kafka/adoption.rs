//! The adoption of a live topic: the splitter goes on where the baseline's group has stopped.

use std::collections::BTreeMap;

use rdkafka::error::{KafkaError, KafkaResult};

use super::{
    admission::Refusal,
    connection::Connection,
    groups::{Group, Readers, is_refused, readers},
    topics::watermarks,
};
use crate::settings::Settings;

/// Takes over the offsets of the baseline's group, once. Safe to repeat, and at the same time as another
/// splitter: the brokers refuse the offsets once a splitter is at work.
///
/// # Errors
/// The inner error while the group still reads the topic, the outer one if the brokers do not answer.
pub fn adopt(
    connection: &Connection,
    settings: &Settings,
    partitions: i32,
) -> Result<Result<(), Refusal>, KafkaError> {
    let (topic, name) = (&settings.queue.topic, &settings.queue.group);
    let own = Group::new(connection, &settings.own_group())?;
    let group = Group::new(connection, name)?;
    // Some offsets are missing later too, if the topic gets more partitions. Those begin at their start.
    if own.offsets(topic, partitions)?.is_empty() {
        if readers(own.client(), connection, name, topic, partitions)? == Readers::OfTopic {
            return Ok(Err(Refusal::StillRead {
                group: name.clone(),
                topic: topic.clone(),
                baseline: settings.queue.baseline_topic(),
            }));
        }
        let offsets = start(&group, topic, partitions)?;
        if own.offsets(topic, partitions)?.is_empty() {
            tolerate_members(own.commit(topic, &offsets))?;
            tracing::info!(?offsets, "`{topic}` was taken over from group `{name}`");
        }
    }
    commit_at_start(&group, &settings.queue.baseline_topic(), partitions)?;
    Ok(Ok(()))
}

/// Commits the start of every partition of which the group has no offset. Otherwise a consumer with
/// `auto.offset.reset: latest` would not see what came before its first poll.
///
/// # Errors
/// If the brokers do not answer.
pub fn commit_at_start(group: &Group, topic: &str, partitions: i32) -> KafkaResult<()> {
    let known = group.offsets(topic, partitions)?;
    let mut missing = start(group, topic, partitions)?;
    missing.retain(|partition, _| !known.contains_key(partition));
    // A member has its own place already.
    tolerate_members(group.commit(topic, &missing))
}

/// Where the group goes on in each partition: at its offset, or else at the first message.
fn start(group: &Group, topic: &str, partitions: i32) -> KafkaResult<BTreeMap<i32, i64>> {
    let known = group.offsets(topic, partitions)?;
    let first = watermarks(group.client(), topic, partitions)?;
    let first = (0..partitions).zip(first.into_iter().map(|(low, _)| low));
    Ok(first
        .map(|(partition, low)| (partition, known.get(&partition).copied().unwrap_or(low)))
        .collect())
}

fn tolerate_members(result: KafkaResult<()>) -> KafkaResult<()> {
    match result {
        Err(error) if is_refused(&error) => Ok(()),
        result => result,
    }
}
