//! The life of a sandbox's topic, as a value: what is to be done next, and which sandboxes get messages.
//!
//! | state | what is so | what happens next |
//! |---|---|---|
//! | absent | there is no topic | it is made, with the partitions of the queue's topic |
//! | preparing | there is a topic | the fork's group is committed at its start, and the topic is recorded |
//! | prepared | it is recorded | messages go there |
//! | draining | the sandbox has ended | its group reads the rest, for at most [`DRAIN`] |
//! | ending | it is recorded as ending, and takes no more messages | unread messages are counted or requeued, and the topic is deleted |
//!
//! The *record* of a topic lies in Kafka (see [`crate::kafka::records`]), so all splitters agree on it, and a
//! topic that skycap has not made is never touched. Nothing is routed to a topic that is not recorded
//! as prepared, and an ending topic refuses writes: a splitter with old rules cannot write to it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use skycap::table::{
    availability::OnUnavailable,
    queue::{BASELINE, Unread, rules::Rules},
};

use crate::table::{Table, Target};

/// What was seen of the topics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// The partitions of the queue's topic.
    pub partitions: i32,
    /// The topics of sandboxes, by sandbox.
    pub topics: BTreeMap<String, Seen>,
}

/// What was seen of a sandbox's topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// How many partitions it has.
    pub partitions: i32,
    /// What is recorded of it; `None` if skycap has not recorded it.
    pub record: Option<Record>,
    /// Whether a message was ever written to it. Looked up only while there is no record.
    pub is_used: bool,
    /// Whether its consumer group has a member. Looked up only if that matters.
    pub has_members: bool,
    /// Whether its group has not read everything. Looked up only if the sandbox has ended.
    pub has_unread: bool,
    /// For how long the sandbox has ended.
    pub ended: Option<Duration>,
}

/// What is recorded of a topic that skycap has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// It gets messages. What becomes of the unread ones is what the sandbox said last.
    Prepared(Unread),
    /// It is about to be deleted, and refuses messages.
    Ending(Unread),
}

/// One thing to do with a sandbox's topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make the topic.
    Create(String),
    /// Commit the group at the start, and record the topic as prepared.
    Prepare(String),
    /// Record again what becomes of unread messages: the sandbox says something else now.
    Record(String, Unread),
    /// Record the topic as ending, and make it refuse messages.
    Seal(String, Unread),
    /// Count or requeue what is unread, and delete the topic.
    End(String, Unread),
}

/// A topic that cannot serve its sandbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// There is a topic of that name which skycap has not made.
    #[error(
        "the topic of sandbox `{0}` exists, and skycap has not made it: its messages go to the \
         baseline; delete that topic, or rename the sandbox"
    )]
    Foreign(String),
    /// The topic has other partitions than the queue's topic.
    #[error(
        "the topic of sandbox `{0}` has {1} partitions and the queue has {2}: its messages go to the \
         baseline; end the sandbox and create it again"
    )]
    Partitions(String, i32, i32),
}

impl Observation {
    /// What is to be done. Each step is safe to repeat. `unread` is what the queue says of unread messages.
    #[must_use]
    pub fn steps(&self, rules: &Rules, unread: Unread) -> Vec<Step> {
        let wanted = rules.sandboxes.keys().filter(|name| !self.topics.contains_key(*name));
        let absent = wanted.map(|name| Step::Create(name.clone()));
        let present = self.topics.iter().filter_map(|(name, seen)| {
            let wanted = rules.sandboxes.get(name).map(|rule| rule.unread.unwrap_or(unread));
            let step = match (seen.record, wanted) {
                (None, Some(_)) if self.conflict(name, seen).is_none() => Step::Prepare,
                (Some(Record::Prepared(recorded)), Some(unread)) if recorded != unread => {
                    return Some(Step::Record(name.clone(), unread));
                }
                (Some(Record::Prepared(unread)), None) if seen.is_drained() => {
                    return Some(Step::Seal(name.clone(), unread));
                }
                // Also if the sandbox was created again meanwhile: it then gets a new topic.
                (Some(Record::Ending(unread)), _) => return Some(Step::End(name.clone(), unread)),
                (None | Some(Record::Prepared(_)), _) => return None,
            };
            Some(step(name.clone()))
        });
        absent.chain(present).collect()
    }

    /// What keeps a wanted sandbox from its messages.
    #[must_use]
    pub fn conflicts(&self, rules: &Rules) -> Vec<Conflict> {
        let wanted = self.topics.iter().filter(|(name, _)| rules.sandboxes.contains_key(*name));
        wanted.filter_map(|(name, seen)| self.conflict(name, seen)).collect()
    }

    fn conflict(&self, name: &str, seen: &Seen) -> Option<Conflict> {
        if matches!(seen.record, Some(Record::Ending(_))) {
            None
        } else if seen.record.is_none() && seen.is_used {
            Some(Conflict::Foreign(name.to_owned()))
        } else if seen.partitions != self.partitions {
            Some(Conflict::Partitions(name.to_owned(), seen.partitions, self.partitions))
        } else {
            None
        }
    }

    /// The table by these rules. `topic` names the topic of a sandbox.
    #[must_use]
    pub fn table(&self, rules: &Rules, topic: impl Fn(&str) -> String) -> Table {
        let baseline = Target { topic: topic(BASELINE), sandbox: None };
        let table = Table::new(baseline);
        if !rules.enabled {
            return table;
        }
        let targets: BTreeMap<&str, Arc<Target>> = rules
            .sandboxes
            .keys()
            .filter(|name| self.takes_messages(rules, name))
            .map(|name| (name.as_str(), Target { topic: topic(name), sandbox: Some(name.clone()) }))
            .map(|(name, target)| (name, Arc::new(target)))
            .collect();
        let routes: HashMap<_, _> = rules
            .keys
            .iter()
            .filter_map(|(key, sandbox)| Some((*key, targets.get(sandbox.as_str())?.clone())))
            .collect();
        table.with_routes(rules.carriers.clone(), routes)
    }

    fn takes_messages(&self, rules: &Rules, name: &str) -> bool {
        let waits = rules
            .sandboxes
            .get(name)
            .is_some_and(|sandbox| sandbox.on_unavailable == OnUnavailable::Fail);
        self.topics.get(name).is_some_and(|seen| {
            matches!(seen.record, Some(Record::Prepared(_)))
                && seen.partitions == self.partitions
                && (waits || seen.has_members)
        })
    }
}

impl Seen {
    /// Whether nobody will read any more from it, or has had the time.
    fn is_drained(&self) -> bool {
        let waited = self.ended.is_some_and(|ended| ended >= DRAIN);
        self.ended.is_some() && (!self.has_unread || !self.has_members || waited)
    }
}

/// How long a sandbox that has ended may read the rest.
pub const DRAIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
