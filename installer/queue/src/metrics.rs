//! The metrics of a splitter.
//!
//! | metric | kind | meaning |
//! |---|---|---|
//! | `skycap_queue_messages` | counter | messages moved, by `target`: `baseline`, a sandbox, or `other` |
//! | `skycap_queue_transactions` | counter | transactions committed |
//! | `skycap_queue_aborts` | counter | transactions aborted; their messages are moved by later ones |
//! | `skycap_queue_refused` | counter | messages that went to the baseline because the sandbox's topic refused them |
//! | `skycap_queue_unread` | counter | messages that sandboxes had not read when they ended |
//! | `skycap_queue_requeued` | counter | those of them that went to the baseline |
//! | `skycap_queue_lag` | gauge | messages of the queue's topic that were not moved yet |
//! | `skycap_queue_waiting` | gauge | partitions that wait because the baseline's topic refuses a message |
//! | `skycap_queue_partitions` | gauge | partitions that this splitter owns |
//! | `skycap_queue_sandboxes` | gauge | sandboxes that get messages |
//!
//! At most [`TARGETS`] sandboxes have a label of their own.

use std::sync::{Mutex, PoisonError};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use skycap::table::queue::{BASELINE, Unread};

use crate::queue::Moved;

/// The metrics of a splitter.
#[derive(Debug, Default)]
pub struct Metrics {
    messages: Family<Label, Counter>,
    labels: Mutex<std::collections::BTreeSet<String>>,
    transactions: Counter,
    aborts: Counter,
    refused: Counter,
    unread: Counter,
    requeued: Counter,
    lag: Gauge,
    waiting: Gauge,
    partitions: Gauge,
    sandboxes: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    target: String,
}

impl Metrics {
    /// Records a step.
    pub fn moved(&self, moved: &Moved) {
        for (target, count) in &moved.messages {
            let target = self.label(target.sandbox.as_deref());
            self.messages.get_or_create(&Label { target }).inc_by(*count);
        }
        if !moved.messages.is_empty() {
            self.transactions.inc();
        }
        if moved.aborted {
            self.aborts.inc();
        }
        self.refused.inc_by(moved.refused);
        self.waiting.set(i64::try_from(moved.waiting).unwrap_or(i64::MAX));
    }

    /// Records what was unread at the end of a sandbox.
    pub fn ended(&self, unread: u64, became: Unread) {
        self.unread.inc_by(unread);
        if became == Unread::Requeue {
            self.requeued.inc_by(unread);
        }
    }

    /// Records what was seen.
    pub fn seen(&self, lag: i64, partitions: usize, sandboxes: usize) {
        self.lag.set(lag);
        self.partitions.set(i64::try_from(partitions).unwrap_or(i64::MAX));
        self.sandboxes.set(i64::try_from(sandboxes).unwrap_or(i64::MAX));
    }

    fn label(&self, sandbox: Option<&str>) -> String {
        let Some(sandbox) = sandbox else { return BASELINE.to_owned() };
        let mut labels = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        if labels.len() < TARGETS {
            labels.insert(sandbox.to_owned());
        }
        if labels.contains(sandbox) { sandbox.to_owned() } else { "other".to_owned() }
    }

    /// The metrics in the OpenMetrics format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register(MESSAGES.0, MESSAGES.1, self.messages.clone());
        for (name, help, counter) in self.counters() {
            registry.register(name, help, counter.clone());
        }
        for (name, help, gauge) in self.gauges() {
            registry.register(name, help, gauge.clone());
        }
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }

    /// The messages moved, by target.
    #[must_use]
    pub fn messages(&self) -> Vec<(String, u64)> {
        let labels = self.labels.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let fixed = [BASELINE.to_owned(), "other".to_owned()];
        let targets = fixed.into_iter().chain(labels);
        targets
            .filter_map(|target| {
                let count = self.messages.get(&Label { target: target.clone() })?.get();
                Some((target, count))
            })
            .collect()
    }

    /// The counters without labels, with their names and what they mean.
    #[must_use]
    pub const fn counters(&self) -> [(&'static str, &'static str, &Counter); 5] {
        [
            ("transactions", "Transactions committed", &self.transactions),
            ("aborts", "Transactions aborted and tried again", &self.aborts),
            ("refused", "Messages that a sandbox's topic refused", &self.refused),
            ("unread", "Messages that sandboxes had not read when they ended", &self.unread),
            ("requeued", "Unread messages that went to the baseline", &self.requeued),
        ]
    }

    /// The gauges, with their names and what they mean.
    #[must_use]
    pub const fn gauges(&self) -> [(&'static str, &'static str, &Gauge); 4] {
        [
            ("lag", "Messages that were not moved yet", &self.lag),
            ("waiting", "Partitions that wait at a message that is refused", &self.waiting),
            ("partitions", "Partitions that this splitter owns", &self.partitions),
            ("sandboxes", "Sandboxes that get messages", &self.sandboxes),
        ]
    }
}

/// What the names of all metrics begin with.
pub const PREFIX: &str = "skycap_queue";
/// The name of the counter with a label, and what it means.
pub const MESSAGES: (&str, &str) = ("messages", "Messages moved, by target");
/// How many sandboxes have a label of their own.
pub const TARGETS: usize = 100;
