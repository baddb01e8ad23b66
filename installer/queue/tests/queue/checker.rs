//! The checker: reads every topic raw, and holds each message against the rules of its time. It shares no
//! code with the splitter.

use std::collections::BTreeMap;

use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    message::{Headers as _, OwnedMessage},
};

use crate::cluster::PATIENCE;

/// A message as a consumer of committed transactions sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Everything that must stay as it was.
    pub(crate) content: Content,
}

/// What a message consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) timestamp: Option<i64>,
}

impl Content {
    fn of(message: &OwnedMessage) -> Self {
        let headers = message.headers().map(|headers| {
            let pair = |header: rdkafka::message::Header<'_, &[u8]>| {
                (header.key.to_owned(), header.value.map(<[u8]>::to_vec))
            };
            headers.iter().map(pair).collect()
        });
        Self {
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers: headers.unwrap_or_default(),
            timestamp: message.timestamp().to_millis(),
        }
    }
}

/// Reads a whole topic, with what is committed in it.
pub(crate) fn read(servers: &str, topic: &str, partitions: i32) -> Vec<Seen> {
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "checker")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("check.crcs", "true")
        .create()
        .unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    reader.assign(&all).unwrap();
    let (mut seen, mut ends) = (Vec::new(), 0);
    while ends < partitions {
        match reader.poll(PATIENCE) {
            Some(Ok(message)) => {
                let message = message.detach();
                let (partition, offset) = (message.partition(), message.offset());
                seen.push(Seen { partition, offset, content: Content::of(&message) });
            }
            Some(Err(KafkaError::PartitionEOF(_))) => ends += 1,
            Some(Err(error)) => panic!("cannot read `{topic}`: {error}"),
            None => panic!("cannot read `{topic}`: no answer"),
        }
    }
    seen
}

/// What is wrong. A message is told from others by its payload.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) lost: usize,
    pub(crate) twice: usize,
    pub(crate) out_of_order: usize,
    pub(crate) changed: usize,
    pub(crate) misrouted: usize,
    pub(crate) foreign: usize,
}

/// The first examples of faults, and how strict the check was.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) faults: Faults,
    pub(crate) examples: Vec<String>,
    /// Messages for which the rules of their time permitted one target only.
    pub(crate) certain: usize,
    pub(crate) messages: usize,
}

/// Compares the topics. `permitted` gives the topics that the rules of its time permit for a message.
pub(crate) fn check(
    source: &[Seen],
    targets: &BTreeMap<String, Vec<Seen>>,
    permitted: impl Fn(&Seen) -> Vec<String>,
) -> Verdict {
    let mut verdict = Verdict { messages: source.len(), ..Verdict::default() };
    let by_payload: BTreeMap<_, &Seen> =
        source.iter().map(|seen| (seen.content.payload.clone(), seen)).collect();
    assert_eq!(by_payload.len(), source.len(), "the producer has written a message twice");
    let mut count: BTreeMap<(i32, i64), usize> = BTreeMap::new();
    for (topic, messages) in targets {
        let mut last: BTreeMap<i32, i64> = BTreeMap::new();
        for seen in messages {
            let Some(original) = by_payload.get(&seen.content.payload) else {
                verdict.faults.foreign += 1;
                continue;
            };
            let place = (original.partition, original.offset);
            let times = count.entry(place).or_default();
            *times += 1;
            let mut fault = |kind: &str, number: fn(&mut Faults) -> &mut usize| {
                *number(&mut verdict.faults) += 1;
                if verdict.examples.len() < 20 {
                    verdict
                        .examples
                        .push(format!("{kind}: {place:?} at {} of {topic}", seen.offset));
                }
            };
            if *times > 1 {
                fault("twice", |faults| &mut faults.twice);
            }
            if seen.content != original.content || seen.partition != original.partition {
                fault("changed", |faults| &mut faults.changed);
            }
            if last.insert(seen.partition, original.offset).is_some_and(|l| l >= original.offset) {
                fault("out of order", |faults| &mut faults.out_of_order);
            }
            let topics = permitted(original);
            if !topics.contains(topic) {
                fault("misrouted", |faults| &mut faults.misrouted);
            }
            verdict.certain += usize::from(topics.len() == 1);
        }
    }
    for seen in source.iter().filter(|seen| !count.contains_key(&(seen.partition, seen.offset))) {
        verdict.faults.lost += 1;
        if verdict.examples.len() < 20 {
            verdict.examples.push(format!("lost: ({}, {})", seen.partition, seen.offset));
        }
    }
    verdict
}

/// The checker finds each fault: otherwise the tests that use it show nothing.
#[test]
fn the_checker_finds_each_fault() {
    let seen = |offset, payload: &str| Seen {
        partition: 0,
        offset,
        content: Content {
            key: None,
            payload: Some(payload.into()),
            headers: Vec::new(),
            timestamp: Some(1),
        },
    };
    let source = [seen(0, "a"), seen(1, "b"), seen(2, "c")];
    let run = |messages: Vec<Seen>| {
        let targets = BTreeMap::from([("t".to_owned(), messages)]);
        check(&source, &targets, |seen| vec![if seen.offset == 2 { "u" } else { "t" }.to_owned()])
            .faults
    };
    let lost_c = Faults { lost: 1, ..Faults::default() };
    assert_eq!(run(vec![seen(0, "a"), seen(1, "b")]), lost_c);
    let misrouted = Faults { misrouted: 1, ..Faults::default() };
    assert_eq!(run(vec![seen(0, "a"), seen(1, "b"), seen(2, "c")]), misrouted);
    let repeated = run(vec![seen(0, "a"), seen(1, "b"), seen(2, "a")]);
    assert_eq!(repeated, Faults { lost: 1, twice: 1, out_of_order: 1, ..Faults::default() });
    let mut changed = seen(1, "b");
    changed.content.timestamp = Some(2);
    let changed = run(vec![seen(0, "a"), changed, seen(3, "d")]);
    assert_eq!(changed, Faults { lost: 1, changed: 1, foreign: 1, ..Faults::default() });
}
