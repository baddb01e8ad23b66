//! One command of a tier: its output goes on as it comes, and its closing lines are counted.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use anyhow::Context as _;

/// How many tests passed, failed and were skipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
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
    /// Runs a command that is one check by itself, such as a linter.
    pub(crate) fn of_check(command: &mut Command) -> Self {
        anstream::println!("{}", shown(command));
        let passed = command.stdin(Stdio::null()).status().is_ok_and(|status| status.success());
        Self { passed: usize::from(passed), failed: usize::from(!passed), skipped: 0 }
    }

    /// Runs a test runner and counts by its closing lines.
    pub(crate) fn of_runner(command: &mut Command) -> Self {
        anstream::println!("{}", shown(command));
        match stream(command) {
            // A runner that fails without a failed test did not come to its tests.
            Ok((tally, false)) if tally.failed == 0 => Self { failed: 1, ..tally },
            Ok((tally, _)) => tally,
            Err(error) => {
                anstream::println!("{error:#}");
                Self { failed: 1, ..Self::default() }
            }
        }
    }

    /// The closing line of cargo's test runner, and of wasm-bindgen's:
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
    let output = child.stdout.take().context("a runner has an output")?;
    let mut tally = Tally::default();
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        tally = tally + Tally::from_line(&line).unwrap_or_default();
    }
    Ok((tally, child.wait()?.success()))
}

/// The command as one would type it.
fn shown(command: &Command) -> String {
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    format!("$ {} {}", command.get_program().to_string_lossy(), args.join(" "))
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn counts_are_read_from_closing_lines_only() {
        let line = "test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 4 filtered out";
        assert_eq!(Tally::from_line(line), Some(Tally { passed: 3, failed: 2, skipped: 1 }));
        assert_eq!(Tally::from_line("test counts ... 3 passed; 2 failed"), None);
    }
}
