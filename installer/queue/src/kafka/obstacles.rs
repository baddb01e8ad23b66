//! Messages that a topic refuses. None is dropped: one for a sandbox goes to the baseline, and one that the
//! baseline refuses keeps its partition waiting until the topic takes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use rdkafka::error::RDKafkaErrorCode;

/// A place in the queue's topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// What is known of refused messages.
#[derive(Debug, Default)]
pub struct Obstacles {
    /// Messages that go to the baseline instead of a sandbox.
    detours: BTreeSet<Place>,
    /// Topics of sandboxes that take nothing, with the time until which they are not tried.
    closed: BTreeMap<String, Instant>,
    /// Partitions of which one message at a time is tried, up to this offset.
    careful: BTreeMap<i32, i64>,
    /// Partitions that wait, with the time until which they do.
    waiting: BTreeMap<i32, Instant>,
}

/// The topic that has refused a message.
#[derive(Debug, Clone, Copy)]
pub enum Refusing<'t> {
    /// The topic of a sandbox.
    Sandbox(&'t str, Neighbors),
    /// The baseline's topic.
    Baseline(Neighbors),
}

/// The other messages of the same partition in the batch: the brokers refuse all of them for one.
#[derive(Debug, Clone, Copy)]
pub enum Neighbors {
    /// There are none, so the message itself is refused.
    None,
    /// There are some, up to this offset.
    Until(i64),
}

/// What follows from a refused message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// The message goes to the baseline.
    Detour,
    /// The messages of its partition are tried one by one.
    Careful,
    /// The partition waits.
    Wait,
}

impl Obstacles {
    /// Notes that a topic has refused the message at `place` in a batch.
    pub fn refuse(
        &mut self,
        place: Place,
        topic: Refusing<'_>,
        code: RDKafkaErrorCode,
        now: Instant,
    ) -> Consequence {
        match topic {
            // Not the fault of one message.
            Refusing::Sandbox(topic, _) if code != RDKafkaErrorCode::MessageSizeTooLarge => {
                self.closed.insert(topic.to_owned(), now + PAUSE);
                Consequence::Detour
            }
            Refusing::Sandbox(_, Neighbors::None) => {
                self.detours.insert(place);
                Consequence::Detour
            }
            Refusing::Baseline(Neighbors::None) => {
                self.careful.entry(place.partition).or_insert(place.offset);
                self.waiting.insert(place.partition, now + PAUSE);
                Consequence::Wait
            }
            Refusing::Sandbox(_, Neighbors::Until(last))
            | Refusing::Baseline(Neighbors::Until(last)) => {
                let until = self.careful.entry(place.partition).or_insert(last);
                *until = last.max(*until);
                Consequence::Careful
            }
        }
    }

    /// Whether the message at `place` goes to the baseline although its target is `topic`.
    #[must_use]
    pub fn detours(&self, place: Place, topic: &str, now: Instant) -> bool {
        self.detours.contains(&place) || self.closed.get(topic).is_some_and(|until| now < *until)
    }

    /// Whether nothing is known, as nearly always.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.detours.is_empty() && self.closed.is_empty() && self.careful.is_empty()
    }

    /// Whether only one message of the partition is tried at a time.
    #[must_use]
    pub fn is_careful(&self, partition: i32) -> bool {
        self.careful.contains_key(&partition)
    }

    /// Notes that everything up to this offset of the partition was moved.
    pub fn moved(&mut self, partition: i32, last: i64, now: Instant) {
        self.detours.retain(|place| place.partition != partition || place.offset > last);
        self.closed.retain(|_, until| now < *until);
        if self.careful.get(&partition).is_some_and(|until| last >= *until) {
            self.careful.remove(&partition);
        }
        self.waiting.remove(&partition);
    }

    /// Forgets the partitions, because somebody else may own them now. Returns those that wait.
    pub fn forget_partitions(&mut self) -> Vec<i32> {
        let waiting = std::mem::take(&mut self.waiting);
        *self = Self { closed: std::mem::take(&mut self.closed), ..Self::default() };
        waiting.into_keys().collect()
    }

    /// The partitions whose wait is over, which are tried again.
    pub fn take_over(&mut self, now: Instant) -> Vec<i32> {
        let over = self.waiting.iter().filter(|(_, until)| now >= **until);
        let over: Vec<i32> = over.map(|(partition, _)| *partition).collect();
        self.waiting.retain(|_, until| now < *until);
        over
    }

    /// How many partitions wait or are tried message by message.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.careful.len()
    }
}

/// Whether another attempt would be refused too, unlike after a failure of a broker.
#[must_use]
pub const fn is_refusal(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidMessageSize
            | RDKafkaErrorCode::InvalidTimestamp
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::PolicyViolation
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition
    )
}

/// How long a topic that refuses messages is left alone.
const PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rdkafka::error::RDKafkaErrorCode;

    use super::{Consequence, Neighbors, Obstacles, PAUSE, Place, Refusing};

    const TOO_LARGE: RDKafkaErrorCode = RDKafkaErrorCode::MessageSizeTooLarge;

    #[test]
    fn a_message_that_a_sandbox_refuses_goes_to_the_baseline_and_no_other_does() {
        let (mut obstacles, now) = (Obstacles::default(), Instant::now());
        let place = |offset| Place { partition: 1, offset };
        let sandbox = |neighbors| Refusing::Sandbox("orders.a", neighbors);
        let among = obstacles.refuse(place(5), sandbox(Neighbors::Until(9)), TOO_LARGE, now);
        assert_eq!(among, Consequence::Careful);
        assert!(!obstacles.detours(place(5), "orders.a", now));
        let alone = obstacles.refuse(place(5), sandbox(Neighbors::None), TOO_LARGE, now);
        assert_eq!(alone, Consequence::Detour);
        assert!(obstacles.detours(place(5), "orders.a", now));
        assert!(!obstacles.detours(place(6), "orders.a", now));
        obstacles.moved(1, 9, now);
        assert!(obstacles.is_empty());
    }

    #[test]
    fn a_topic_that_is_gone_is_left_alone_for_a_while() {
        let (mut obstacles, now) = (Obstacles::default(), Instant::now());
        let place = |offset| Place { partition: 1, offset };
        let gone = Refusing::Sandbox("orders.a", Neighbors::Until(19));
        obstacles.refuse(place(11), gone, RDKafkaErrorCode::UnknownTopicOrPartition, now);
        assert!(obstacles.detours(place(12), "orders.a", now));
        assert!(!obstacles.detours(place(12), "orders.b", now));
        assert!(!obstacles.detours(place(12), "orders.a", now + PAUSE));
    }

    #[test]
    fn a_message_that_the_baseline_refuses_is_found_and_then_its_partition_waits() {
        let (mut obstacles, now) = (Obstacles::default(), Instant::now());
        let place = |offset| Place { partition: 0, offset };
        let among = Refusing::Baseline(Neighbors::Until(8));
        assert_eq!(obstacles.refuse(place(8), among, TOO_LARGE, now), Consequence::Careful);
        assert!(obstacles.is_careful(0) && !obstacles.is_careful(1));
        obstacles.moved(0, 3, now);
        assert!(obstacles.is_careful(0));
        let alone = Refusing::Baseline(Neighbors::None);
        assert_eq!(obstacles.refuse(place(4), alone, TOO_LARGE, now), Consequence::Wait);
        assert_eq!(obstacles.take_over(now), Vec::<i32>::new());
        assert_eq!(obstacles.take_over(now + PAUSE), [0]);
        obstacles.moved(0, 8, now);
        assert_eq!(obstacles.waiting(), 0);
    }
}
