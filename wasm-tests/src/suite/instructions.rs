//! The tier `instructions`: what one decision costs natively, counted under valgrind.
//!
//! A count and no time: it is the same on a busy machine. What a decision costs is the difference
//! between two runs that differ by a thousand decisions, so start and configuration fall out.

use std::process::Command;

use anyhow::{Context as _, ensure};

use super::runner::Tally;
use crate::{module::run, workspace};

/// Instructions of one decision, by kind of request and rows of the table, with what it was when
/// the budget was set. What passes it by more than 3% fails: argue the figure, or the change.
const BUDGETS: [(&str, usize, u64); 5] = [
    ("none", 10, 146),
    ("foreign", 10, 1_680),
    ("unknown", 10, 1_028),
    ("routed", 10, 2_685),
    ("routed", 20_000, 2_685),
];

/// Builds the example `decide` of the core and counts. Each budget counts as one test.
pub(super) fn count() -> anyhow::Result<Tally> {
    run(Command::new("cargo").current_dir(workspace::root()).args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "skycap-core",
        "--example",
        "decide",
    ]))?;
    let mut tally = Tally::default();
    for (kind, rows, budget) in BUDGETS {
        let cost = (instructions(kind, rows, 2_000)? - instructions(kind, rows, 1_000)?) / 1_000;
        let kept = cost * 100 <= budget * 103;
        let verdict = if kept { "kept" } else { "exceeded" };
        anstream::println!(
            "{kind:<8} {rows:>6} rows: {cost:>5} instructions, budget {budget} {verdict}"
        );
        let (passed, failed) = (usize::from(kept), usize::from(!kept));
        tally = tally + Tally { passed, failed, skipped: 0 };
    }
    Ok(tally)
}

fn instructions(kind: &str, rows: usize, times: usize) -> anyhow::Result<u64> {
    let example = workspace::target().join("release/examples/decide");
    let said = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(example)
        .args([kind, &rows.to_string(), &times.to_string()])
        .output()
        .context("cannot run valgrind")?;
    let text = String::from_utf8_lossy(&said.stderr);
    ensure!(said.status.success(), "valgrind: {text}");
    let line = text.lines().find_map(|line| line.split("Collected : ").nth(1));
    let count = line.context("valgrind gives no count")?;
    count.trim().parse().with_context(|| format!("`{count}` is no count"))
}
