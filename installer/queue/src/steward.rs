//! The steward looks after the topics of the sandboxes. Every splitter looks; the owner of partition 0 acts.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rdkafka::error::KafkaError;
use skycap::table::queue::{Unread, rules::Rules};

use crate::{
    board::Board,
    kafka::{
        context::Context,
        observe::{Cluster, Ended},
    },
    life::{Observation, Step},
    metrics::Metrics,
};

/// The steward of a queue.
pub struct Steward {
    /// The topics and groups.
    pub cluster: Cluster,
    /// The assignment of this splitter.
    pub context: Context,
    /// Where the rules stand, and what was seen is noted.
    pub board: Arc<Board>,
    /// Where lag and unread messages are counted.
    pub metrics: Arc<Metrics>,
    /// What the queue says of unread messages.
    pub unread: Unread,
    /// The conflicts that the log has.
    pub reported: BTreeSet<String>,
}

impl Steward {
    /// Works until `stop` is set.
    pub fn run(mut self, stop: &AtomicBool) {
        let mut last_error = String::new();
        while !stop.load(Ordering::Relaxed) {
            let pause = match self.round() {
                Ok(true) => BUSY,
                Ok(false) => IDLE,
                Err(error) => {
                    let text = error.to_string();
                    if text != last_error {
                        tracing::warn!("the topics cannot be looked at now: {text}");
                    }
                    last_error = text;
                    IDLE
                }
            };
            self.wait(pause, stop);
        }
    }

    /// Waits, but not when there are new rules.
    fn wait(&self, pause: Duration, stop: &AtomicBool) {
        let before = self.board.rules();
        let is_same = |now: Option<Arc<Rules>>| match (&before, &now) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (before, now) => before.is_none() && now.is_none(),
        };
        let mut waited = Duration::ZERO;
        while waited < pause && is_same(self.board.rules()) && !stop.load(Ordering::Relaxed) {
            thread::sleep(TICK);
            waited += TICK;
        }
    }

    /// Looks, acts, and says whether there is more to do soon.
    fn round(&mut self) -> Result<bool, KafkaError> {
        let Some(rules) = self.board.rules() else { return Ok(false) };
        let observation = Arc::new(self.cluster.observe(&rules)?);
        self.board.set_observation(observation.clone());
        self.report_conflicts(&observation, &rules);
        let assigned = self.context.assigned();
        let sandboxes = observation.topics.values().filter(|seen| seen.record.is_some()).count();
        let lag = self.cluster.lag()?;
        let own = lag.iter().filter(|(partition, _)| assigned.contains(partition));
        self.metrics.seen(own.map(|(_, lag)| lag).sum(), assigned.len(), sandboxes);
        let steps = observation.steps(&rules, self.unread);
        if assigned.contains(&0) {
            for step in &steps {
                let ended = self.cluster.apply(step, &observation)?;
                self.report(step, ended);
            }
        }
        let is_ending = observation.topics.values().any(|seen| seen.ended.is_some());
        Ok(is_ending || !steps.is_empty())
    }

    fn report(&self, step: &Step, ended: Option<Ended>) {
        match (step, ended) {
            (Step::End(name, _), Some(Ended { unread, became })) => {
                self.metrics.ended(unread, became);
                let became = match became {
                    Unread::Report => "are gone",
                    Unread::Requeue => "went to the baseline",
                };
                tracing::info!(
                    sandbox = name,
                    unread,
                    "the topic was deleted; unread messages {became}"
                );
            }
            (Step::Create(name), _) => tracing::info!(sandbox = name, "the topic was made"),
            (Step::Prepare(name), _) => tracing::info!(sandbox = name, "the topic is prepared"),
            (Step::Seal(name, _), _) => tracing::info!(sandbox = name, "the topic is sealed"),
            (Step::Record(..) | Step::End(..), _) => {}
        }
    }

    fn report_conflicts(&mut self, observation: &Observation, rules: &Rules) {
        let now: BTreeSet<String> =
            observation.conflicts(rules).iter().map(ToString::to_string).collect();
        for conflict in now.difference(&self.reported) {
            tracing::warn!("{conflict}");
        }
        self.reported = now;
    }
}

/// Between two looks while something is going on.
const BUSY: Duration = Duration::from_millis(500);
/// Between two looks otherwise: how long a message may go to a fork that has just gone.
const IDLE: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(50);
