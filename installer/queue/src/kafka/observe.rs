//! What the life of the topics depends on, and how its steps are done.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use rdkafka::error::KafkaResult;
use skycap::table::{
    availability::OnUnavailable,
    queue::{BASELINE, Unread, rules::Rules},
};
use tokio::runtime::Handle;

use super::{
    admission::Admitted,
    adoption::commit_at_start,
    connection::{Connection, Isolation, Reader},
    end::UnreadMessages,
    groups::{Group, Readers, readers},
    records::Records,
    topics::{Topics, partitions, watermarks},
};
use crate::{
    life::{Observation, Record, Seen, Step},
    settings::Settings,
};

/// The topics and groups of a queue.
pub struct Cluster {
    settings: Arc<Settings>,
    connection: Connection,
    admitted: Admitted,
    topics: Topics,
    records: Records,
    own: Group,
    uncommitted: Reader,
    /// Since when each sandbox has ended.
    ended: BTreeMap<String, Instant>,
}

/// The messages that a sandbox had not read when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// How many there were.
    pub unread: u64,
    /// What became of them.
    pub became: Unread,
}

impl Cluster {
    /// The cluster of an admitted queue.
    ///
    /// # Errors
    /// If a property is invalid.
    pub fn new(
        settings: Arc<Settings>,
        connection: Connection,
        admitted: Admitted,
        runtime: Handle,
    ) -> KafkaResult<Self> {
        Ok(Self {
            topics: Topics::new(&connection, runtime)?,
            records: Records::new(&connection, &settings)?,
            own: Group::new(&connection, &settings.own_group())?,
            uncommitted: connection.bystander(&settings.record_group(), Isolation::Uncommitted)?,
            ended: BTreeMap::new(),
            settings,
            connection,
            admitted,
        })
    }

    /// Looks at everything that matters by these rules.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub fn observe(&mut self, rules: &Rules) -> KafkaResult<Observation> {
        let prefix = self.settings.queue.topic_of("");
        let known = partitions(self.records.client())?;
        let named = known.iter().filter_map(|(topic, partitions)| {
            let name = topic.strip_prefix(&prefix).filter(|name| *name != BASELINE)?;
            Some((name, *partitions))
        });
        let named: BTreeMap<&str, i32> = named.collect();
        let topics: Vec<String> =
            named.keys().map(|name| self.settings.queue.topic_of(name)).collect();
        let records = self.records.read(&topics)?;
        let mut observation =
            Observation { partitions: self.admitted.partitions, topics: BTreeMap::new() };
        for (name, partitions) in named {
            let record = records.get(&self.settings.queue.topic_of(name)).copied();
            let is_wanted = rules.sandboxes.contains_key(name);
            if record.is_some() || is_wanted {
                let seen = Seen { partitions, record, ..Seen::default() };
                observation.topics.insert(name.to_owned(), self.look(rules, name, seen)?);
            }
        }
        self.ended.retain(|name, _| observation.topics.contains_key(name));
        Ok(observation)
    }

    /// Looks closer at a sandbox's topic.
    fn look(&mut self, rules: &Rules, name: &str, mut seen: Seen) -> KafkaResult<Seen> {
        let topic = self.settings.queue.topic_of(name);
        match (rules.sandboxes.get(name), seen.record) {
            (Some(_), None) => {
                let ends = watermarks(self.records.client(), &topic, seen.partitions)?;
                seen.is_used = ends.iter().any(|(_, high)| *high > 0);
            }
            (Some(rule), _) => {
                self.ended.remove(name);
                if rule.on_unavailable == OnUnavailable::Baseline {
                    seen.has_members = self.has_members(name, seen.partitions)?;
                }
            }
            (None, Some(Record::Prepared(_))) => {
                let since = self.ended.entry(name.to_owned()).or_insert_with(Instant::now);
                seen.ended = Some(since.elapsed());
                seen.has_members = self.has_members(name, seen.partitions)?;
                seen.has_unread = self.unread(name, seen.partitions)?.any()?;
            }
            (None, _) => {}
        }
        Ok(seen)
    }

    fn has_members(&self, name: &str, partitions: i32) -> KafkaResult<bool> {
        let queue = &self.settings.queue;
        let (group, topic) = (queue.group_of(name), queue.topic_of(name));
        let client = self.records.client();
        let readers = readers(client, &self.connection, &group, &topic, partitions)?;
        Ok(readers == Readers::OfTopic)
    }

    fn unread(&self, name: &str, partitions: i32) -> KafkaResult<UnreadMessages> {
        let queue = &self.settings.queue;
        let (group, topic) = (queue.group_of(name), queue.topic_of(name));
        UnreadMessages::open(&self.connection, &group, &topic, partitions)
    }

    /// Does a step, and says what was unread when a topic was deleted.
    ///
    /// # Errors
    /// If the brokers do not answer, or refuse.
    pub fn apply(&self, step: &Step, observation: &Observation) -> KafkaResult<Option<Ended>> {
        let topic = |name: &str| self.settings.queue.topic_of(name);
        let count = self.admitted.partitions;
        match step {
            Step::Create(name) => {
                self.topics.create(&topic(name), count, &self.admitted.settings)?;
            }
            Step::Prepare(name) => {
                let group = Group::new(&self.connection, &self.settings.queue.group_of(name))?;
                commit_at_start(&group, &topic(name), count)?;
                self.records.write(&topic(name), Record::Prepared(self.settings.queue.unread))?;
            }
            Step::Record(name, unread) => {
                self.records.write(&topic(name), Record::Prepared(*unread))?;
            }
            Step::Seal(name, unread) => {
                self.records.write(&topic(name), Record::Ending(*unread))?;
                self.topics.seal(&topic(name))?;
            }
            Step::End(name, unread) => {
                let partitions = observation.topics.get(name).map_or(count, |seen| seen.partitions);
                return self.end(name, partitions, *unread);
            }
        }
        Ok(None)
    }

    fn end(&self, name: &str, partitions: i32, became: Unread) -> KafkaResult<Option<Ended>> {
        let queue = &self.settings.queue;
        let topic = queue.topic_of(name);
        // Again, for a splitter that ended between the two halves of `Seal`.
        self.topics.seal(&topic)?;
        let messages = self.unread(name, partitions)?;
        if messages.has_open_transaction(&self.uncommitted)? {
            return Ok(None);
        }
        let unread = match became {
            Unread::Report => messages.count()?,
            Unread::Requeue => messages.requeue(
                &self.connection,
                &format!("{}.end", self.settings.own_group()),
                self.admitted.batch_bytes,
                &queue.baseline_topic(),
            )?,
        };
        self.topics.delete(&topic)?;
        self.topics.delete_group(&queue.group_of(name));
        Ok(Some(Ended { unread, became }))
    }

    /// How many messages of each partition were not moved yet.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub fn lag(&self) -> KafkaResult<BTreeMap<i32, i64>> {
        let topic = &self.settings.queue.topic;
        let offsets = self.own.offsets(topic, self.admitted.partitions)?;
        let ends = watermarks(self.own.client(), topic, self.admitted.partitions)?;
        let ends = (0..self.admitted.partitions).zip(ends);
        Ok(ends
            .map(|(partition, (low, high))| {
                (partition, high - offsets.get(&partition).copied().unwrap_or(low))
            })
            .collect())
    }
}
