//! Whether a splitter is ready: the rules are known, and it is a member of its group.

use std::sync::{Mutex, PoisonError};

use crate::kafka::context::Context;

/// The health of a splitter.
#[derive(Debug)]
pub struct Health {
    /// What it waits for; `None` once it moves messages.
    waits_for: Mutex<Option<String>>,
    context: Context,
}

impl Health {
    /// The health of a splitter that has just started.
    #[must_use]
    pub fn new(context: Context) -> Self {
        Self { waits_for: Mutex::new(Some(NO_RULES.into())), context }
    }

    /// Notes what the splitter waits for. Returns whether that is news.
    pub fn wait_for(&self, what: Option<String>) -> bool {
        let mut waits_for = self.waits_for.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *waits_for != what;
        *waits_for = what;
        is_news
    }

    /// # Errors
    /// Why the splitter is not ready.
    pub fn check(&self) -> Result<(), String> {
        let waits_for = self.waits_for.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match waits_for {
            Some(what) => Err(what),
            None if self.context.is_member() => Ok(()),
            None => Err("it waits for its partitions".into()),
        }
    }
}

/// Why nothing is moved at first.
pub const NO_RULES: &str = "the controller has not sent the rules yet";
