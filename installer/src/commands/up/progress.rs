//! What `up` says while it works: each change once, and what it waits for on a terminal.

use std::{cell::RefCell, collections::BTreeMap};

use crate::{commands::progress::Progress, observed::forks::ForkState, problem::printable_lines};

/// The talk of one run, on stderr.
pub(super) struct Report {
    progress: Progress,
    states: RefCell<BTreeMap<String, String>>,
}

impl Report {
    pub(super) fn new() -> Self {
        Self { progress: Progress::new("up"), states: RefCell::default() }
    }

    /// What is being done now.
    pub(super) fn now(&self, what: &str) {
        self.progress.say(&printable_lines(what));
    }

    /// How far a fork is.
    pub(super) fn state(&self, fork: &str, state: &ForkState) {
        let text = match state {
            ForkState::Ready => "ready",
            ForkState::Progressing(what) => what,
            // The cluster's own words are in the result, once.
            ForkState::Failing(failure) => &failure.what,
        };
        let before = self.states.borrow_mut().insert(fork.into(), text.to_owned());
        if before.as_deref() == Some(text) {
            return;
        }
        // Without a terminal there is no progress line, and a log should show what happens.
        self.progress.log(&printable_lines(&format!("{fork}: {text}")));
    }
}
