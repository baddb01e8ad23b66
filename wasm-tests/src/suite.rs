//! `cargo suite`: the tests in tiers, each with what it needs.

mod background;
mod cargo;
mod fuzz;
mod instructions;
mod kubernetes;
mod lint;
mod reproducible;
mod runner;
mod tier;
mod tool;
mod wasm;

use std::time::{Duration, Instant};

use anstyle::AnsiColor;
use clap::ValueEnum as _;

use self::runner::{Skip, Tally};
pub use self::tier::Tier;
use crate::picture::paint;

/// How the tiers run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether this is CI: a skipped tier is a failure, and missing system packages are installed.
    pub ci: bool,
    /// Whether tests that have a long form run it (`SKYCAP_LONG=1` for the test programs).
    pub long: bool,
    /// Whether every tier runs, and with them the checks that take minutes: the second build of the
    /// module, and kube-score.
    pub all: bool,
}

/// The result of one tier.
#[derive(Debug)]
struct Line {
    tier: Tier,
    tally: Tally,
    took: Duration,
    /// Why the tier was skipped; empty if it ran.
    reason: String,
}

/// Runs the tiers and prints a table of the results. Returns whether no test failed.
///
/// The table ends with `total: N passed, N failed, N skipped`, alone on its line.
#[must_use]
pub fn run(tiers: &[Tier], options: Options) -> bool {
    background::build_in_background(tiers);
    let lines: Vec<Line> = tiers.iter().map(|tier| run_tier(*tier, options)).collect();
    print_table(&lines);
    let total = lines.iter().fold(Tally::default(), |total, line| total + line.tally);
    let Tally { passed, failed, skipped } = total;
    anstream::println!("total: {passed} passed, {failed} failed, {skipped} skipped");
    failed == 0 && passed > 0
}

/// The line that names the tiers that are not among `tiers`, with the command that runs them;
/// `None` if all are.
#[must_use]
pub fn left_out(tiers: &[Tier]) -> Option<String> {
    let others = Tier::value_variants().iter().filter(|tier| !tiers.contains(tier));
    let names: Vec<_> = others.map(Tier::to_string).collect();
    (!names.is_empty()).then(|| {
        format!(
            "not run: {}; run them with `cargo suite --only {}`, or every tier with `cargo suite --all`",
            names.join(", "),
            names.join(",")
        )
    })
}

fn run_tier(tier: Tier, options: Options) -> Line {
    anstream::println!("\n{}", paint(AnsiColor::Cyan, &format!("=== {tier}: {}", tier.about())));
    let start = Instant::now();
    let (tally, reason) = match tier.run(options) {
        Ok(tally) => (tally, String::new()),
        Err(Skip(reason)) => {
            anstream::println!("skipped: {reason}");
            let failed = usize::from(options.ci);
            (Tally { failed, skipped: 1 - failed, ..Tally::default() }, reason)
        }
    };
    Line { tier, tally, took: start.elapsed(), reason }
}

fn print_table(lines: &[Line]) {
    anstream::println!(
        "\n{:<12} {:>6} {:>6} {:>7} {:>7}",
        "tier",
        "passed",
        "failed",
        "skipped",
        "time"
    );
    for Line { tier, tally, took, reason } in lines {
        let Tally { passed, failed, skipped } = tally;
        let color = match (failed, skipped) {
            (1.., _) => AnsiColor::Red,
            (0, 1..) => AnsiColor::Yellow,
            (0, 0) => AnsiColor::Green,
        };
        let took = format!("{:.1} s", took.as_secs_f32());
        let tier = paint(color, &format!("{:<12}", tier.to_string()));
        anstream::println!("{tier} {passed:>6} {failed:>6} {skipped:>7} {took:>7}  {reason}");
    }
    anstream::println!();
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::{Tier, left_out};

    #[test]
    fn the_default_leaves_out_the_tiers_with_a_control_plane() {
        let line = left_out(&Tier::by_default()).unwrap_or_default();
        assert!(line.starts_with("not run: queue, cluster, istio, pods;"), "{line}");
        assert!(line.contains("`cargo suite --only queue,cluster,istio,pods`"), "{line}");
        assert_eq!(left_out(Tier::value_variants()), None);
    }
}
