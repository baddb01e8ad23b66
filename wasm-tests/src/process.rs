//! Processes: children that end with their parent, however it ends, signals, and what runs.

use std::{
    ffi::OsStr,
    fs,
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::module::run;

/// A command whose process the kernel kills when the thread that starts it ends. `kill_on_drop` and
/// the like cover a parent that returns; this also covers one that is killed.
///
/// The command runs through `setpriv` from util-linux, which sets the signal and then becomes
/// `program`: the process id, the arguments and the environment are those of `program`. Where there
/// is no such `setpriv` (it is Linux's), the command is `program` itself.
///
/// Start it on a thread that lives as long as the process is needed: not on one of tokio's threads
/// for blocking work, which end when they are idle.
#[must_use]
pub fn killed_with_parent(program: impl AsRef<OsStr>) -> Command {
    if !has_setpriv() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Sends a signal, such as `KILL`, to a process, or with `-` in front to a process group.
///
/// # Errors
/// If there is no such process.
pub fn send_signal(signal: &str, process: &str) -> anyhow::Result<()> {
    run(Command::new("kill").args(["-s", signal, "--", process]))
}

/// The names of the processes that have this variable in their environment, such as `TMPDIR=/tmp/a`.
///
/// # Errors
/// If `/proc` cannot be read.
pub fn processes_with(variable: &str) -> anyhow::Result<Vec<String>> {
    let name = |id: &String| fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    Ok(process_ids_with(variable)?.iter().map(name).collect())
}

/// The ids of the processes that have this variable in their environment.
///
/// # Errors
/// If `/proc` cannot be read.
pub fn process_ids_with(variable: &str) -> anyhow::Result<Vec<String>> {
    process_ids("environ", |environment| {
        environment.split(|byte| *byte == 0).any(|found| found == variable.as_bytes())
    })
}

/// The ids of the processes with these arguments, without the program's own path.
///
/// # Errors
/// If `/proc` cannot be read.
pub fn process_ids_of(args: &[&str]) -> anyhow::Result<Vec<String>> {
    process_ids("cmdline", |line| {
        let line = line.strip_suffix(b"\0").unwrap_or(line);
        line.split(|byte| *byte == 0).skip(1).eq(args.iter().map(|argument| argument.as_bytes()))
    })
}

/// The ids of the processes whose file of this name in `/proc` is as wanted.
fn process_ids(file: &str, is_wanted: impl Fn(&[u8]) -> bool) -> anyhow::Result<Vec<String>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        // A process may end meanwhile, or belong to another user.
        let content = fs::read(entry.path().join(file)).unwrap_or_default();
        if is_wanted(&content) {
            ids.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(ids)
}

fn has_setpriv() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        let mut attempt = Command::new("setpriv");
        attempt.args(["--pdeathsig", "KILL", "--", "true"]);
        let status =
            attempt.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        os::unix::process::ExitStatusExt as _,
        process::{Child, Stdio},
        thread,
    };

    use anyhow::{Context as _, ensure};

    use super::{has_setpriv, killed_with_parent};

    /// Starts a process that runs for a minute, and waits until it runs.
    fn start() -> anyhow::Result<Child> {
        let mut command = killed_with_parent("sh");
        command.args(["-c", "echo running; exec sleep 60"]);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let output = child.stdout.take().context("the process has no standard output")?;
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line == "running\n", "the process printed `{line}`");
        Ok(child)
    }

    #[test]
    fn a_process_ends_with_the_thread_that_started_it() -> anyhow::Result<()> {
        assert!(has_setpriv(), "setpriv of util-linux is not installed");
        let mut child = thread::spawn(start).join().unwrap()?;
        assert_eq!(child.wait()?.signal(), Some(9));
        Ok(())
    }
}
