//! Progress on stderr, for what may take longer than a second.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A line on stderr until it is dropped; nothing if stderr is not a terminal.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Shows the line with this prefix.
    #[must_use]
    pub(crate) fn new(about: &'static str) -> Self {
        let style = ProgressStyle::with_template("{spinner} {prefix}: {msg} {elapsed}");
        let bar = ProgressBar::new_spinner()
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
            .with_prefix(about);
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    /// Shows what is being done now.
    pub(crate) fn say(&self, what: &str) {
        self.0.set_message(what.to_owned());
    }
}

impl Progress {
    /// Prints a line that stays. It is also printed without a terminal.
    pub(crate) fn log(&self, line: &str) {
        self.0.suspend(|| anstream::eprintln!("{line}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
