//! How a workload in a Pod fails, when a test sends it a signal.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::signal::unix::{SignalKind, signal};

/// Follows signals: SIGUSR1 makes the readiness probe fail, SIGUSR2 uses more memory than any limit
/// permits, and SIGTERM ends the process a second later. Until then it serves, as a program does whose
/// endpoint others may still use.
///
/// # Errors
/// If signals cannot be received.
pub(super) fn follow_signals(is_ready: Arc<AtomicBool>) -> std::io::Result<()> {
    let (mut probe, mut memory, mut end) = (
        signal(SignalKind::user_defined1())?,
        signal(SignalKind::user_defined2())?,
        signal(SignalKind::terminate())?,
    );
    tokio::spawn(async move {
        tokio::select! {
            _ = memory.recv() => use_memory(),
            _ = end.recv() => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                std::process::exit(0);
            }
        }
    });
    tokio::spawn(async move {
        while probe.recv().await.is_some() {
            is_ready.store(false, Ordering::Relaxed);
        }
    });
    Ok(())
}

/// Uses 16 MiB after the other, until the kernel kills the process.
fn use_memory() {
    let mut used = Vec::new();
    loop {
        used.push(vec![1_u8; 16 << 20]);
    }
}
