//! What `up` and `down` say while they work: each change once, and what it waits for on a terminal.

use std::{cell::RefCell, collections::BTreeMap};

use crate::{commands::progress::Progress, observed::forks::ForkState, problem::printable_lines};

/// The talk of one run, on stderr.
pub(in crate::commands) struct Report {
    progress: Progress,
    /// The last text about each fork, and about the API server.
    said: RefCell<BTreeMap<String, String>>,
}

impl Report {
    pub(in crate::commands) fn new(about: &'static str) -> Self {
        Self { progress: Progress::new(about), said: RefCell::default() }
    }

    /// What is being done now.
    pub(in crate::commands) fn now(&self, what: &str) {
        self.progress.say(&printable_lines(what));
    }

    /// How far a fork is.
    pub(in crate::commands) fn state(&self, fork: &str, state: &ForkState) {
        let text = match state {
            ForkState::Ready => "ready",
            ForkState::Progressing(what) => what,
            // The cluster's own words are in the result, once.
            ForkState::Failing(failure) => &failure.what,
        };
        self.once(fork, text);
    }

    /// That the API server is away.
    pub(in crate::commands) fn away(&self, error: &str) {
        self.now(error);
        self.once(AGAIN, error);
    }

    /// That it answers. Its next absence is said again.
    pub(in crate::commands) fn back(&self) {
        self.said.borrow_mut().remove(AGAIN);
    }

    /// Without a terminal there is no progress line, and a log should show what happens.
    fn once(&self, about: &str, text: &str) {
        let before = self.said.borrow_mut().insert(about.into(), text.into());
        if before.as_deref() != Some(text) {
            self.progress.log(&printable_lines(&format!("{about}: {text}")));
        }
    }
}

const AGAIN: &str = "trying again";
