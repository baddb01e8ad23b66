//! The queues that sandboxes can have, and the rules of each.

use std::collections::{BTreeMap, HashMap};

use super::{
    Queue,
    rules::{Rules, SandboxRule},
};
use crate::{
    problem::{Problem, Severity},
    table::{
        cluster::Name,
        fragments::{Content, Fragment},
        input::Input,
        limits::NAMESPACE_QUEUES,
        origin::Origin,
        report::FragmentState,
        rows::Rows,
        settings::Settings,
    },
};

/// The queues that sandboxes can have: well formed, and without a topic of another queue.
pub(crate) struct UsableQueues<'a> {
    input: &'a Input,
    /// The oldest first.
    queues: Vec<&'a Queue>,
    indexes: HashMap<(&'a str, &'a str), usize>,
    /// The topics of each queue, by brokers and name.
    topics: HashMap<(&'a str, String), &'a Queue>,
    /// Why the other ones that are well formed cannot be used.
    pub(crate) problems: Vec<Problem>,
}

/// What is known about a queue that a sandbox names.
pub(crate) enum Found {
    /// It can be used; its index.
    Usable(usize),
    /// The topic of the sandbox is one of another queue.
    Taken,
    /// It exists, but is rejected.
    Rejected,
    /// There is no such queue.
    Missing,
    /// The input has no queue and no state of a cluster.
    Unknown,
}

impl<'a> UsableQueues<'a> {
    /// The queues of an input. Of several with one topic, the oldest can be used.
    pub(crate) fn of(input: &'a Input) -> Self {
        let (queues, indexes, topics) = (Vec::new(), HashMap::new(), HashMap::new());
        let mut usable = Self { input, queues, indexes, topics, problems: Vec::new() };
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for queue in input.queues() {
            let count = counts.entry(&queue.origin.namespace).or_default();
            *count += 1;
            // Two on the same brokers would move each message twice.
            let own = queue.config.topics().map(|topic| (queue.config.servers(), topic));
            let taken = own.clone().find_map(|topic| usable.topics.get(&topic).copied());
            if let Some(older) = taken {
                usable.refuse(queue, "data.topic", &taken_text(queue, older));
            } else if *count > NAMESPACE_QUEUES {
                usable.refuse(queue, "", &too_many_text());
            } else {
                usable.topics.extend(own.map(|topic| (topic, queue)));
                let name = (queue.origin.namespace.as_str(), queue.origin.name.as_str());
                usable.indexes.insert(name, usable.queues.len());
                usable.queues.push(queue);
            }
        }
        usable
    }

    /// The queue of this name, for a sandbox.
    pub(crate) fn find(&self, sandbox: &Origin, name: &str) -> Found {
        let name = (sandbox.namespace.as_str(), name);
        match self.indexes.get(&name) {
            Some(index) if self.is_taken(*index, &sandbox.name) => Found::Taken,
            Some(index) => Found::Usable(*index),
            None if !self.input.knows_queues() => Found::Unknown,
            None if self.input.has_queue(name) => Found::Rejected,
            None => Found::Missing,
        }
    }

    /// The rules of each queue. Without `rows`, which the kill switch leaves out, no key has a sandbox.
    pub(crate) fn rules(
        &self,
        settings: &Settings,
        fragments: &[&Fragment],
        states: &[FragmentState],
        rows: Option<&Rows>,
    ) -> BTreeMap<Name, Rules> {
        let empty = Rules {
            enabled: settings.config.enabled,
            carriers: settings.config.carriers.clone(),
            ..Rules::default()
        };
        let mut rules = vec![empty; self.queues.len()];
        let ends = |fragment: &Fragment, state| {
            state == FragmentState::Expired || fragment.origin.is_terminating
        };
        let all = fragments.iter().zip(states);
        for (fragment, _) in all.filter(|(fragment, state)| !ends(fragment, **state)) {
            let Content::Sandbox { on_unavailable, queues, unread, .. } = &fragment.content else {
                continue;
            };
            let on_unavailable = on_unavailable.unwrap_or(settings.on_unavailable);
            let rule = SandboxRule { on_unavailable, unread: *unread };
            for queue in queues {
                let Found::Usable(index) = self.find(&fragment.origin, queue) else {
                    continue;
                };
                if let Some(rules) = rules.get_mut(index) {
                    rules.sandboxes.insert(fragment.origin.name.clone(), rule);
                }
            }
        }
        for (key, claim) in rows.into_iter().flat_map(Rows::queues) {
            let sandbox = fragments.get(claim.fragment).map(|fragment| &fragment.origin.name);
            let (Some(rules), Some(sandbox)) = (rules.get_mut(claim.queue), sandbox) else {
                continue;
            };
            // One that is being deleted still has its key.
            if rules.sandboxes.contains_key(sandbox) {
                rules.keys.insert(*key, sandbox.clone());
            }
        }
        let names = self.queues.iter().map(|queue| &queue.origin);
        let names = names.map(|origin| (origin.namespace.clone(), origin.name.clone()));
        names.zip(rules).collect()
    }

    fn is_taken(&self, index: usize, sandbox: &str) -> bool {
        let config = self.queues.get(index).map(|queue| &queue.config);
        let topic = config.map(|config| (config.servers(), config.topic_of(sandbox)));
        topic.is_some_and(|topic| self.topics.contains_key(&topic))
    }

    fn refuse(&mut self, queue: &Queue, field: &str, text: &str) {
        self.problems.push(queue.origin.problem(Severity::Refused, field, text));
    }
}

fn taken_text(queue: &Queue, older: &Queue) -> String {
    format!(
        "topic `{}` is a topic of the older queue {}; name another topic, or remove one of the two",
        queue.config.topic,
        older.origin.id()
    )
}

fn too_many_text() -> String {
    format!(
        "namespace has more than {NAMESPACE_QUEUES} queues, and this is one of the youngest; remove \
         some"
    )
}
