//! What a test asks the brokers, apart from the splitter's own code.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{
        AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication,
    },
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::{KafkaError, KafkaResult},
};

/// A client of the brokers.
pub(crate) struct Brokers {
    pub(crate) servers: String,
    admin: AdminClient<DefaultClientContext>,
}

impl Brokers {
    pub(crate) fn new(servers: &str) -> Self {
        let admin = ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
        Self { servers: servers.to_owned(), admin }
    }

    pub(crate) async fn create(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
        for (name, value) in settings {
            new = new.set(name, value);
        }
        let results = self.admin.create_topics(&[new], &options()).await.unwrap();
        for result in results {
            result.unwrap();
        }
    }

    pub(crate) async fn alter(&self, topic: &str, name: &str, value: &str) {
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
        for result in self.admin.alter_configs(&[change], &options()).await.unwrap() {
            result.unwrap();
        }
    }

    pub(crate) fn has_topic(&self, topic: &str) -> bool {
        let client = self.client("observer");
        let metadata = client.fetch_metadata(None, PATIENCE).unwrap();
        metadata.topics().iter().any(|found| found.name() == topic)
    }

    /// The committed offsets of a group, also while a transaction is open.
    pub(crate) fn offsets(&self, group: &str, topic: &str, partitions: i32) -> BTreeMap<i32, i64> {
        let client = self.client(group);
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition_range(topic, 0, partitions - 1);
        let found = retry(|| client.committed_offsets(wanted.clone(), PATIENCE));
        let offset = |offset| if let Offset::Offset(offset) = offset { Some(offset) } else { None };
        let elements = found.elements();
        let known = elements.iter().filter_map(|e| Some((e.partition(), offset(e.offset())?)));
        known.collect()
    }

    pub(crate) fn commit(&self, group: &str, topic: &str, offsets: &[i64]) {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in (0..).zip(offsets) {
            list.add_partition_offset(topic, partition, Offset::Offset(*offset)).unwrap();
        }
        self.client(group).commit(&list, CommitMode::Sync).unwrap();
    }

    /// The end of each partition.
    pub(crate) fn ends(&self, topic: &str, partitions: i32) -> BTreeMap<i32, i64> {
        let client = self.client("observer");
        let end = |partition| retry(|| client.fetch_watermarks(topic, partition, PATIENCE)).1;
        (0..partitions).map(|partition| (partition, end(partition))).collect()
    }

    /// A client that is no member of this group.
    pub(crate) fn client(&self, group: &str) -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", &self.servers)
            .set("group.id", group)
            .set("isolation.level", "read_uncommitted")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap()
    }

    /// Polls a consumer until its group has it as a member.
    pub(crate) fn wait_for_member(&self, group: &str, consumer: &BaseConsumer) {
        let client = self.client("observer");
        retry(|| {
            drop(consumer.poll(Duration::from_millis(100)));
            let groups = client.fetch_group_list(Some(group), PATIENCE)?;
            let has_member = groups.groups().iter().any(|found| !found.members().is_empty());
            let stable = groups.groups().iter().any(|found| found.state() == "Stable");
            if has_member && stable { Ok(()) } else { Err(KafkaError::NoMessageReceived) }
        });
    }

    /// A member of a group, which reads a topic as an application does.
    pub(crate) fn member(&self, group: &str, topic: &str) -> BaseConsumer {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.servers)
            .set("group.id", group)
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "latest")
            .set("enable.auto.commit", "false")
            .set("session.timeout.ms", "6000")
            .create()
            .unwrap();
        consumer.subscribe(&[topic]).unwrap();
        consumer
    }
}

/// Asks until there is an answer: a broker may just restart.
fn retry<T>(mut attempt: impl FnMut() -> KafkaResult<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(PATIENCE))
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
