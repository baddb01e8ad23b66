//! Progress on stderr, for whatever takes longer than a second.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// One step that a person may wait for. It says how long it took once that is over a second.
#[derive(Debug)]
pub struct Step {
    bar: ProgressBar,
    name: String,
    start: Instant,
}

impl Step {
    /// Begins a step, such as "building the module".
    #[must_use]
    pub fn new(name: &str) -> Self {
        // indicatif draws nothing where stderr is no terminal.
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
        let bar = ProgressBar::new_spinner()
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
            .with_message(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, name: name.into(), start: Instant::now() }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        let took = self.start.elapsed();
        if took >= Duration::from_secs(1) {
            anstream::eprintln!("{} ({:.1} s)", self.name, took.as_secs_f32());
        }
    }
}
