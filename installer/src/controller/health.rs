//! Whether the controller is ready: all watches have listed their objects, and none has failed for long.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::observed::connect::CONNECT_TIMEOUT;

/// The health of a controller.
#[derive(Debug, Default)]
pub(super) struct Health {
    has_listed: AtomicBool,
    /// The watches that fail, by what they watch.
    failing: Mutex<BTreeMap<String, Failure>>,
}

/// A watch that fails: since when, and when it failed last.
#[derive(Debug)]
struct Failure {
    first: Instant,
    last: Instant,
}

impl Health {
    /// All watches have listed their objects.
    pub(super) fn set_listed(&self) {
        self.has_listed.store(true, Ordering::Relaxed);
    }

    /// A watch of `objects` has failed, or has brought an event.
    pub(super) fn set_watch(&self, objects: &str, works: bool) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if works {
            failing.remove(objects);
            return;
        }
        let now = Instant::now();
        match failing.get_mut(objects).filter(|failure| failure.lasts()) {
            Some(failure) => failure.last = now,
            None => drop(failing.insert(objects.to_owned(), Failure { first: now, last: now })),
        }
    }

    /// For how long the controller has not seen all changes of the cluster; zero if it sees them.
    pub(super) fn behind(&self) -> Duration {
        let failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let lasting = failing.values().filter(|failure| failure.lasts());
        lasting.map(|failure| failure.first.elapsed()).max().unwrap_or_default()
    }

    /// # Errors
    /// Why the controller is not ready.
    pub(super) fn check(&self) -> Result<(), String> {
        if !self.has_listed.load(Ordering::Relaxed) {
            return Err("the watches have not listed all objects yet".into());
        }
        let behind = self.behind();
        if behind >= BEHIND {
            return Err(format!(
                "the API server has been unreachable for {} s, so changes since then have no effect",
                behind.as_secs()
            ));
        }
        Ok(())
    }
}

impl Failure {
    /// Whether the watch still fails. A watch that was resumed and has nothing to report is as silent as
    /// one that has not failed; one that fails is tried again, and fails again, within this time.
    fn lasts(&self) -> bool {
        self.last.elapsed() < ATTEMPT
    }
}

/// A watch that fails for less than this is restarted before anybody has to know.
const BEHIND: Duration = Duration::from_secs(5);
/// The longest time from one failure of a watch to the next: the pause, the time to connect
/// ([`CONNECT_TIMEOUT`]) and some more.
const ATTEMPT: Duration = Duration::from_secs(CONNECT_TIMEOUT.as_secs() + 5);
