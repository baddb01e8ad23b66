//! A command that runs as a child: it gets this process's signals, and its exit code is this process's.
//!
//! # Which processes get a signal
//!
//! Without a terminal, the child leads a process group of its own, and a signal goes to the whole group:
//! a test runner's own children end with it. With a terminal as its stdin, the child stays in the
//! group of this process, because a terminal lets only one group read. There the terminal itself sends
//! Ctrl-C to both, and only the other signals are passed on, to the child alone.

use std::{
    ffi::OsString,
    io::{ErrorKind, IsTerminal as _},
    os::unix::process::ExitStatusExt as _,
    process::{ExitCode, ExitStatus},
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// Runs `command` with these variables beside those of this process, and returns its exit code: 128 and
/// the number of the signal if one has ended it, 127 if there is no such command, 126 if it cannot be
/// executed, as a shell does it.
///
/// # Errors
/// The signals cannot be handled.
pub(super) async fn run(
    command: &[OsString],
    variables: impl IntoIterator<Item = (String, OsString)>,
) -> anyhow::Result<ExitCode> {
    let Some((program, args)) = command.split_first() else { anyhow::bail!("no command") };
    let owns_terminal = std::io::stdin().is_terminal();
    let mut signals = follow_signals(owns_terminal).context("cannot handle signals")?;
    let mut child = Command::new(program);
    child.args(args).envs(variables);
    if !owns_terminal {
        child.process_group(0);
    }
    let mut child = match child.spawn() {
        Ok(child) => child,
        Err(error) => {
            let program = program.display();
            let (code, why) = match error.kind() {
                ErrorKind::NotFound => (127, "there is no such command".to_owned()),
                ErrorKind::PermissionDenied => (126, "it is not executable".to_owned()),
                _ => (126, error.to_string()),
            };
            anstream::eprintln!("error: cannot run `{program}`: {why}");
            return Ok(ExitCode::from(code));
        }
    };
    loop {
        tokio::select! {
            status = child.wait() => return Ok(exit_code(status.context("cannot wait for the command")?)),
            Some(signal) = signals.recv() => pass_on(signal, &child, owns_terminal),
        }
    }
}

/// The signals that this process gets from now on. Ctrl-C of a terminal reaches the child by itself.
fn follow_signals(owns_terminal: bool) -> std::io::Result<mpsc::UnboundedReceiver<Signal>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for number in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        let mut stream = signal(SignalKind::from_raw(number.as_raw()))?;
        let sender = sender.clone();
        let by_terminal = owns_terminal && matches!(number, Signal::INT | Signal::QUIT);
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if !by_terminal && sender.send(number).is_err() {
                    return;
                }
            }
        });
    }
    Ok(receiver)
}

fn pass_on(signal: Signal, child: &Child, owns_terminal: bool) {
    let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let Some(id) = id else { return };
    // It can only fail if the child has ended, and then the loop sees that.
    let _ = if owns_terminal { kill_process(id, signal) } else { kill_process_group(id, signal) };
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
