//! An API server that is away for a while ends nothing: what `up` and `down` ask it is asked again.

use std::time::{Duration, Instant};

use tokio::time::{timeout, timeout_at};

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
            // A server that stands still would be waited for without an end.
            let error = match timeout_at((deadline + GRACE).into(), work()).await {
                Err(_) => SILENT.into(),
                Ok(Err(error)) if is_away(&error) => message(&error),
                Ok(result) => {
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

/// Reads what is only told, and waits for it no longer than a moment.
///
/// # Errors
/// That of the read, and that there is no answer.
pub(super) async fn briefly<T>(read: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    timeout(GRACE, read).await.unwrap_or_else(|_| Err(anyhow::Error::msg(SILENT)))
}

const SILENT: &str = "there is no answer";
/// How long a request may take that is the last one.
const GRACE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(500);
