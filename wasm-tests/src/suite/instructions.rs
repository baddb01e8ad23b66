//! The tier `instructions`: how many instructions one decision takes natively, counted by valgrind.
//!
//! Unlike a time, the count is the same on a busy machine. The cost of one decision is the
//! difference between two runs that differ by a thousand decisions; the cost of start and
//! configuration cancels out.

use std::process::Command;

use anyhow::{Context as _, ensure};

use super::{cargo::cargo, runner::Tally};
use crate::{module::run, workspace};

/// Instructions of one decision, by kind of request and number of rows in the table. More than 3 %
/// above the budget is a failure: either the change is wrong, or its cost is worth a new budget.
///
/// The edge costs a request inside the mesh a comparison in front of the carriers, and one more if it
/// is routed: 3 and 25 instructions.
const BUDGETS: [(&str, usize, u64); 5] = [
    ("none", 10, 149),
    ("foreign", 10, 1_680),
    ("unknown", 10, 1_028),
    ("routed", 10, 2_710),
    ("routed", 20_000, 2_710),
];

/// Builds the package `skycap-instructions`, and counts. Each budget is one test.
pub(super) fn count() -> anyhow::Result<Tally> {
    run(cargo("build").args(["--quiet", "--release", "--package", "skycap-instructions"]))?;
    let mut tally = Tally::default();
    for (kind, rows, budget) in BUDGETS {
        let cost = (instructions(kind, rows, 2_000)? - instructions(kind, rows, 1_000)?) / 1_000;
        let passed = cost * 100 <= budget * 103;
        let verdict = if passed { "ok" } else { "exceeded" };
        anstream::println!(
            "{kind:<8} {rows:>6} rows: {cost:>5} instructions (budget: {budget}, {verdict})"
        );
        tally = tally + Tally::of_one(passed);
    }
    Ok(tally)
}

fn instructions(kind: &str, rows: usize, times: usize) -> anyhow::Result<u64> {
    let program = workspace::target().join("release/skycap-instructions");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([kind, &rows.to_string(), &times.to_string()])
        .output()
        .context("cannot run valgrind")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind: {text}");
    let line = text.lines().find_map(|line| line.split("Collected : ").nth(1));
    let count = line.context("valgrind printed no count")?;
    count.trim().parse().with_context(|| format!("invalid count `{count}` from valgrind"))
}
