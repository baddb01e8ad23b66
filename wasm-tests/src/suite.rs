//! `cargo suite`: every test there is, in tiers, each with what it needs.

mod instructions;
mod runner;
mod tiers;

use std::time::{Duration, Instant};

use anstyle::AnsiColor;

pub use self::tiers::Tier;
use self::{runner::Tally, tiers::Skip};
use crate::picture::paint;

/// What became of one tier.
#[derive(Debug)]
struct Line {
    tier: Tier,
    tally: Tally,
    took: Duration,
    /// Why tests were skipped.
    why: String,
}

/// Runs these tiers and prints what became of them; the last line is
/// `total: N passed, N failed, N skipped`. Gives whether all is well.
///
/// With `strict`, which is CI, a tier that is skipped is a failure.
#[must_use]
pub fn run(tiers: &[Tier], strict: bool) -> bool {
    let lines: Vec<Line> = tiers.iter().map(|tier| run_tier(*tier, strict)).collect();
    print_table(&lines);
    let total = lines.iter().fold(Tally::default(), |total, line| total + line.tally);
    let Tally { passed, failed, skipped } = total;
    anstream::println!("total: {passed} passed, {failed} failed, {skipped} skipped");
    failed == 0 && passed > 0
}

/// Opens the shop of the tier `istio`, on Istio's own programs, until Ctrl-C. Gives whether it opened.
#[must_use]
pub fn keep() -> bool {
    match tiers::keep() {
        Ok(tally) => tally.failed == 0,
        Err(Skip(why)) => {
            anstream::eprintln!("error: {why}");
            false
        }
    }
}

fn run_tier(tier: Tier, strict: bool) -> Line {
    anstream::println!("\n{}", paint(AnsiColor::Cyan, &format!("=== {tier}: {}", tier.about())));
    let start = Instant::now();
    let (tally, why) = match tier.run() {
        Ok(tally) => (tally, String::new()),
        Err(Skip(why)) => {
            anstream::println!("skipped: {why}");
            let failed = usize::from(strict);
            (Tally { failed, skipped: 1 - failed, ..Tally::default() }, why)
        }
    };
    Line { tier, tally, took: start.elapsed(), why }
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
    for Line { tier, tally, took, why } in lines {
        let Tally { passed, failed, skipped } = tally;
        let color = match (failed, skipped) {
            (1.., _) => AnsiColor::Red,
            (0, 1..) => AnsiColor::Yellow,
            (0, 0) => AnsiColor::Green,
        };
        let took = format!("{:.1} s", took.as_secs_f32());
        let tier = paint(color, &format!("{:<12}", tier.to_string()));
        anstream::println!("{tier} {passed:>6} {failed:>6} {skipped:>7} {took:>7}  {why}");
    }
    anstream::println!();
}
