//! Progress on stderr, for whatever takes longer than a second.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A line that says what is waited for, while it is; nothing where stderr is no terminal.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Begins, with what it is about.
    #[must_use]
    pub(crate) fn new(about: &'static str) -> Self {
        let style = ProgressStyle::with_template("{spinner} {prefix}: {msg} {elapsed}");
        let bar = ProgressBar::new_spinner()
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
            .with_prefix(about);
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    /// What it is at now.
    pub(crate) fn say(&self, what: &str) {
        self.0.set_message(what.to_owned());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
