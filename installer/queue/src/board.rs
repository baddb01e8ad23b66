//! What the parts of a splitter know together: the rules, what was seen of the topics, and the table of both.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skycap::table::queue::{BASELINE, QueueConfig, rules::Rules};

use crate::{
    life::Observation,
    table::{Table, Target},
};

/// The board. A change of the rules applies at once, with what was seen last.
#[derive(Debug)]
pub struct Board {
    queue: QueueConfig,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rules: Option<Arc<Rules>>,
    observation: Arc<Observation>,
    table: Arc<Table>,
}

impl Board {
    /// A board without rules.
    #[must_use]
    pub fn new(queue: QueueConfig) -> Self {
        let baseline = Target { topic: queue.topic_of(BASELINE), sandbox: None };
        let state = State {
            rules: None,
            observation: Arc::default(),
            table: Arc::new(Table::new(baseline)),
        };
        Self { queue, state: Mutex::new(state) }
    }

    /// Applies new rules.
    pub fn set_rules(&self, rules: Arc<Rules>) {
        self.update(|state| state.rules = Some(rules));
    }

    /// Applies what was seen.
    pub fn set_observation(&self, observation: Arc<Observation>) {
        self.update(|state| state.observation = observation);
    }

    /// The rules; `None` before the first ones.
    #[must_use]
    pub fn rules(&self) -> Option<Arc<Rules>> {
        self.lock().rules.clone()
    }

    /// Where messages go now.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        self.lock().table.clone()
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        if let Some(rules) = &state.rules {
            let topic = |name: &str| self.queue.topic_of(name);
            let table = state.observation.table(rules, topic);
            state.table = Arc::new(table);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
