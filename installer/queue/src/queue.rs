//! What a message broker does for the splitter.

use std::time::Duration;

use crate::table::{Table, Target};

/// A queue from which messages are moved. Kafka is behind it; a broker without transactions would move at
/// least once.
pub trait Queue {
    /// Moves what has arrived, at most one batch of it: each message to the target that the table names
    /// at the end of the batch, or nothing at all. Returns after [`WAIT`] if nothing arrives.
    ///
    /// # Errors
    /// [`Fatal`]: the process has to start again. Everything else is tried again by the next call.
    fn step(&mut self, table: &mut dyn FnMut() -> std::sync::Arc<Table>) -> Result<Moved, Fatal>;
}

/// What one step did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// How many messages went to each target.
    pub messages: Vec<(std::sync::Arc<Target>, u64)>,
    /// Whether a transaction was aborted. Its messages are moved by a later step.
    pub aborted: bool,
    /// How many messages went to the baseline because the sandbox's topic refused them.
    pub refused: u64,
    /// How many partitions wait, because the baseline's topic refuses their next message.
    pub waiting: usize,
}

/// A failure after which only a new process can go on, such as another one with the same name.
#[derive(Debug, thiserror::Error)]
#[error("{0}; the process starts again")]
pub struct Fatal(pub String);

/// How long a step waits for the first message.
pub const WAIT: Duration = Duration::from_millis(100);
