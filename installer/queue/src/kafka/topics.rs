//! Topics: their partitions and settings, and how skycap makes and deletes them.

use std::collections::BTreeMap;

use rdkafka::{
    admin::{
        AdminClient, AlterConfig, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication,
    },
    consumer::Consumer as _,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};
use tokio::runtime::Handle;

use super::{
    connection::{Connection, Reader, TIMEOUT, admin_options},
    context::Context,
};

/// The topics of the cluster.
pub struct Topics {
    admin: AdminClient<Context>,
    runtime: Handle,
}

/// A topic's own settings: those that are not the brokers' defaults.
pub type TopicSettings = BTreeMap<String, String>;

impl Topics {
    /// Topics that are asked for on `runtime`, from a thread that is not one of its own.
    ///
    /// # Errors
    /// If a property is invalid.
    pub fn new(connection: &Connection, runtime: Handle) -> KafkaResult<Self> {
        Ok(Self { admin: connection.admin()?, runtime })
    }

    /// The settings of a topic: its own ones, and the effective value of each name in `also`.
    ///
    /// # Errors
    /// If the brokers do not answer, or refuse.
    pub fn settings(&self, topic: &str, also: &[&str]) -> KafkaResult<TopicSettings> {
        let specifier = [ResourceSpecifier::Topic(topic)];
        let request = self.admin.describe_configs(&specifier, &admin_options());
        let results = self.runtime.block_on(request)?;
        let mut settings = TopicSettings::new();
        for result in results {
            let entries = result.map_err(KafkaError::AdminOp)?.entries;
            let wanted = entries.into_iter().filter(|entry| {
                entry.source == ConfigSource::DynamicTopic || also.contains(&entry.name.as_str())
            });
            settings.extend(wanted.filter_map(|entry| Some((entry.name, entry.value?))));
        }
        Ok(settings)
    }

    /// Makes a topic, if it does not exist, with the brokers' default of replicas.
    ///
    /// # Errors
    /// If the brokers do not answer, or refuse.
    pub fn create(
        &self,
        topic: &str,
        partitions: i32,
        settings: &TopicSettings,
    ) -> KafkaResult<()> {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
        for (name, value) in settings {
            new = new.set(name, value);
        }
        let topics = [new];
        let request = self.admin.create_topics(&topics, &admin_options());
        only(self.runtime.block_on(request)?, RDKafkaErrorCode::TopicAlreadyExists)
    }

    /// Deletes a topic, if it exists.
    ///
    /// # Errors
    /// If the brokers do not answer, or refuse.
    pub fn delete(&self, topic: &str) -> KafkaResult<()> {
        let request = self.admin.delete_topics(&[topic], &admin_options());
        only(self.runtime.block_on(request)?, RDKafkaErrorCode::UnknownTopicOrPartition)
    }

    /// Deletes a group, if it has no member. The brokers forget others by themselves.
    pub fn delete_group(&self, group: &str) {
        let request = self.admin.delete_groups(&[group], &admin_options());
        if let Err(error) = self.runtime.block_on(request) {
            tracing::debug!(%error, "the group `{group}` was not deleted");
        }
    }

    /// Makes a topic refuse every message, but not the end of a transaction: its limit is below the
    /// smallest message with a header, and above the 78 bytes of that.
    ///
    /// # Errors
    /// If the brokers do not answer, or refuse.
    pub fn seal(&self, topic: &str) -> KafkaResult<()> {
        let sealed =
            [AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", "80")];
        let request = self.admin.alter_configs(&sealed, &admin_options());
        for result in self.runtime.block_on(request)? {
            result.map_err(|(_, code)| KafkaError::AdminOp(code))?;
        }
        Ok(())
    }
}

/// The partitions of each topic of the cluster.
///
/// # Errors
/// If the brokers do not answer.
pub fn partitions(client: &Reader) -> KafkaResult<BTreeMap<String, i32>> {
    let metadata = client.fetch_metadata(None, TIMEOUT)?;
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
    Ok(topics.map(|topic| (topic.name().to_owned(), count(topic.partitions().len()))).collect())
}

/// The ends of each partition: the first offset, and that behind the last.
///
/// # Errors
/// If the brokers do not answer.
pub fn watermarks(client: &Reader, topic: &str, partitions: i32) -> KafkaResult<Vec<(i64, i64)>> {
    (0..partitions).map(|partition| client.fetch_watermarks(topic, partition, TIMEOUT)).collect()
}

fn only(results: Vec<rdkafka::admin::TopicResult>, expected: RDKafkaErrorCode) -> KafkaResult<()> {
    let errors = results.into_iter().filter_map(Result::err);
    errors
        .map(|(_, code)| code)
        .find(|code| *code != expected)
        .map_or(Ok(()), |code| Err(KafkaError::AdminOp(code)))
}
