//! What is checked before anything is moved.

use std::collections::BTreeMap;

use rdkafka::error::KafkaError;

use super::{
    context::Context,
    topics::{TopicSettings, Topics, partitions},
};
use crate::{kafka::connection::Reader, settings::Settings};

/// A queue's topic that can be split.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// Its partitions.
    pub partitions: i32,
    /// Its settings, which those of the baseline and the sandboxes get too.
    pub settings: TopicSettings,
    /// The most bytes that the targets take at once.
    pub batch_bytes: usize,
}

/// Why nothing is moved yet. It is tried again, so correcting the cause is enough.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The brokers do not answer, or not as asked.
    #[error(
        "the brokers at `{servers}` do not answer: {reason}; check `bootstrap.servers`, the credentials \
         and the network"
    )]
    Brokers {
        /// Where they are.
        servers: String,
        /// What librdkafka says.
        reason: String,
    },
    /// There is no such topic.
    #[error("the topic `{0}` does not exist; create it, or correct `topic`")]
    NoTopic(String),
    /// The topic is compacted.
    #[error(
        "the topic `{0}` is compacted: a key's last message would be kept in each of its parts, so no \
         part could be read alone; a queue needs `cleanup.policy=delete`"
    )]
    Compacted(String),
    /// The baseline's topic has other partitions.
    #[error(
        "the topic `{baseline}` has {found} partitions and `{topic}` has {expected}: a message stays in \
         its partition; give both the same number"
    )]
    Partitions {
        /// The baseline's topic.
        baseline: String,
        /// The partitions of it.
        found: i32,
        /// The queue's topic.
        topic: String,
        /// The partitions of it.
        expected: i32,
    },
    /// The baseline still reads the queue's topic.
    #[error(
        "group `{group}` still reads `{topic}`; let the baseline read `{baseline}` instead, or stop it for \
         a moment: the splitter then takes over at the group's offsets"
    )]
    StillRead {
        /// The baseline's group.
        group: String,
        /// The queue's topic.
        topic: String,
        /// The baseline's topic.
        baseline: String,
    },
}

impl Refusal {
    /// What a failed question to the brokers means.
    #[must_use]
    pub fn of(error: &KafkaError, settings: &Settings, context: &Context) -> Self {
        let servers = settings.queue.kafka.get("bootstrap.servers").cloned().unwrap_or_default();
        let reason = context.last_error().unwrap_or_else(|| error.to_string());
        Self::Brokers { servers, reason }
    }
}

/// Checks the topics, and makes that of the baseline if there is none.
///
/// # Errors
/// The inner error if the topic cannot be split, the outer one if the brokers do not answer.
pub fn admit(
    client: &Reader,
    topics: &Topics,
    settings: &Settings,
) -> Result<Result<Admitted, Refusal>, KafkaError> {
    let (topic, baseline) = (settings.queue.topic.clone(), settings.queue.baseline_topic());
    let known: BTreeMap<String, i32> = partitions(client)?;
    let Some(expected) = known.get(&topic).copied() else {
        return Ok(Err(Refusal::NoTopic(topic)));
    };
    let own = topics.settings(&topic, &[POLICY])?;
    if own.get(POLICY).is_some_and(|policy| policy.contains("compact")) {
        return Ok(Err(Refusal::Compacted(topic)));
    }
    let is_copied = |name: &String| !name.contains("throttled");
    let own: TopicSettings = own.into_iter().filter(|(name, _)| is_copied(name)).collect();
    match known.get(&baseline).copied() {
        None => topics.create(&baseline, expected, &own)?,
        Some(found) if found != expected => {
            return Ok(Err(Refusal::Partitions { baseline, found, topic, expected }));
        }
        Some(_) => {}
    }
    let limit = topics.settings(&baseline, &[LIMIT])?;
    let limit = limit.get(LIMIT).and_then(|limit| limit.parse().ok()).unwrap_or(BATCH_BYTES);
    let batch_bytes = limit.min(BATCH_BYTES);
    Ok(Ok(Admitted { partitions: expected, settings: own, batch_bytes }))
}

const POLICY: &str = "cleanup.policy";
const LIMIT: &str = "max.message.bytes";
/// librdkafka's default, which is below the brokers' default limit.
const BATCH_BYTES: usize = 1_000_000;
