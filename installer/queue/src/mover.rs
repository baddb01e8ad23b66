//! The loop that moves messages.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    board::Board,
    metrics::Metrics,
    queue::{Fatal, Queue},
};

/// Moves messages until `stop` is set.
///
/// # Errors
/// [`Fatal`], if only a new process can go on.
pub fn run(
    queue: &mut impl Queue,
    board: &Board,
    metrics: &Metrics,
    stop: &AtomicBool,
) -> Result<(), Fatal> {
    while !stop.load(Ordering::Relaxed) {
        let moved = queue.step(&mut || -> Arc<_> { board.table() })?;
        metrics.moved(&moved);
    }
    Ok(())
}
