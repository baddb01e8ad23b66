//! An API server that is away for a while ends nothing: what `up` and `down` ask it is asked again.

use std::time::{Duration, Instant};

use super::progress::Report;
use crate::{cli::message, observed::causes::is_away};

/// How long one run waits, and whom it tells.
#[derive(Clone, Copy)]
pub(in crate::commands) struct Patience<'a> {
    pub(in crate::commands) deadline: Instant,
    pub(in crate::commands) report: &'a Report,
}

impl Patience<'_> {
    /// Does the work, and does it again while the API server is away. It may have been done although its
    /// answer was lost, so doing it twice must be no different from once.
    ///
    /// # Errors
    /// The error of the work. If the API server stays away, it says so.
    pub(in crate::commands) async fn with<T>(
        &self,
        work: impl AsyncFn() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let Self { deadline, report } = *self;
        loop {
            let error = match work().await {
                Err(error) if is_away(&error) => message(&error),
                result => {
                    report.back();
                    return result;
                }
            };
            report.away(&error);
            anyhow::ensure!(
                Instant::now() < deadline,
                "timed out waiting for the API server: {error}; run this command again when it answers"
            );
            tokio::time::sleep(PAUSE).await;
        }
    }
}

const PAUSE: Duration = Duration::from_millis(500);
