//! Progress on stderr, for everything that may take longer than a second.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// A spinner until it is dropped. It then prints how long the work took, if that was a second or more.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    name: String,
    start: Instant,
}

impl Progress {
    /// Shows that this work has begun, such as "building the module".
    #[must_use]
    pub fn new(name: &str) -> Self {
        // indicatif draws nothing if stderr is not a terminal.
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
        let bar = ProgressBar::new_spinner()
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
            .with_message(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, name: name.into(), start: Instant::now() }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        let took = self.start.elapsed();
        if took >= Duration::from_secs(1) {
            anstream::eprintln!("{} ({:.1} s)", self.name, took.as_secs_f32());
        }
    }
}
