//! Runs one command of a tier, shows its output as it comes, and counts its tests.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;

/// How many tests passed, failed and were skipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
}

impl std::ops::Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl Tally {
    /// One test that passed or failed.
    pub(super) fn of_one(passed: bool) -> Self {
        Self { passed: usize::from(passed), failed: usize::from(!passed), skipped: 0 }
    }

    /// Runs a command that counts as one test, such as a linter.
    pub(super) fn of_check(command: &mut Command) -> Self {
        anstream::println!("{}", command_line(command));
        match command.stdin(Stdio::null()).status() {
            Ok(status) => Self::of_one(status.success()),
            Err(error) => {
                anstream::println!("cannot run the command: {error}");
                Self::of_one(false)
            }
        }
    }

    /// Runs commands at the same time. Each one counts as one test. Its output is shown if it fails.
    pub(super) fn of_parallel_checks(commands: &mut [Command]) -> Self {
        let start = |command: &mut Command| {
            anstream::println!("{}", command_line(command));
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
        };
        let children: Vec<_> = commands.iter_mut().map(start).collect();
        children.into_iter().fold(Self::default(), |tally, child| {
            let passed = match child.and_then(Child::wait_with_output) {
                Ok(output) if output.status.success() => true,
                Ok(output) => {
                    anstream::print!("{}", String::from_utf8_lossy(&output.stdout));
                    anstream::print!("{}", String::from_utf8_lossy(&output.stderr));
                    false
                }
                Err(error) => {
                    anstream::println!("cannot run the command: {error}");
                    false
                }
            };
            tally + Self::of_one(passed)
        })
    }

    /// A check of the suite itself, which counts as one test.
    pub(super) fn of_result(rule: &str, result: anyhow::Result<()>) -> Self {
        match &result {
            Ok(()) => anstream::println!("ok: {rule}"),
            Err(error) => anstream::println!("failed: {rule}: {error:#}"),
        }
        Self::of_one(result.is_ok())
    }

    /// Runs a test runner and adds up its summary lines.
    pub(super) fn of_runner(command: &mut Command) -> Self {
        anstream::println!("{}", command_line(command));
        match stream(command) {
            // The runner failed before it ran the tests, such as at a compiler error.
            Ok((tally, false)) if tally.failed == 0 => Self { failed: 1, ..tally },
            Ok((tally, _)) => tally,
            Err(error) => {
                anstream::println!("{error:#}");
                Self { failed: 1, ..Self::default() }
            }
        }
    }

    /// Reads the summary line of cargo's test runner, or of wasm-bindgen's:
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 filtered out`.
    fn from_line(line: &str) -> Option<Self> {
        let counts = line.trim().strip_prefix("test result: ")?.split_once(". ")?.1;
        let count = |word: &str| {
            let field = counts.split(';').find(|field| field.trim_end().ends_with(word));
            field.and_then(|field| field.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
        };
        Some(Self { passed: count("passed"), failed: count("failed"), skipped: count("ignored") })
    }
}

fn stream(command: &mut Command) -> anyhow::Result<(Tally, bool)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    let output = child.stdout.take().context("the runner has no standard output")?;
    let mut tally = Tally::default();
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        tally = tally + Tally::from_line(&line).unwrap_or_default();
    }
    Ok((tally, child.wait()?.success()))
}

/// The command as it would be typed.
fn command_line(command: &Command) -> String {
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    format!("$ {} {}", command.get_program().to_string_lossy(), args.join(" "))
}

/// Why a tier cannot run here, and what to install.
#[derive(Debug)]
pub(super) struct Skip(pub(super) String);

impl<E: Into<anyhow::Error>> From<E> for Skip {
    fn from(error: E) -> Self {
        Self(format!("{:#}", error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn counts_are_read_from_summary_lines_only() {
        let line = "test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 4 filtered out";
        assert_eq!(Tally::from_line(line), Some(Tally { passed: 3, failed: 2, skipped: 1 }));
        assert_eq!(Tally::from_line("test counts ... 3 passed; 2 failed"), None);
    }
}
