//! The comment on a pull request: one for each sandbox, which is edited when the sandbox changes.
//!
//! The text is a pure function of [`Summary`] and of what the job knows about its tests. What it quotes
//! comes from a pull request and from a cluster, and may be anything: it stands in code spans alone,
//! so that it is no markup, no link, no mention of a person and, on GitLab, no quick action.

mod markdown;
mod marker;

use std::fmt::Write as _;

use self::markdown::{code, sh, table};
pub use self::marker::Marker;
use super::summary::{Fork, Summary};

/// How far the tests of a pull request are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Tests {
    /// They run.
    Running,
    /// They have passed.
    Passed,
    /// They have failed.
    Failed,
    /// They do not run, for example because the sandbox is not served.
    Skipped,
}

/// The comment on a sandbox that is there, or that should be: at most 65,536 characters, which is what
/// GitHub accepts. It begins with the sandbox's [`Marker`].
#[must_use]
pub fn open(summary: &Summary, tests: Option<Tests>) -> String {
    let Summary { sandbox, forks, services, notes, error, .. } = summary;
    let mut text = format!("{}\n", Marker::of(summary));
    let _ = write!(text, "### Sandbox {}: {}\n\n", code(sandbox), state(summary));
    if let Some(error) = error {
        let _ = write!(text, "{}\n\n", code(error));
    }
    text += "Requests with its key reach the services of this pull request; all others reach the \
             baseline.\n\n";
    text += &sh(&summary.curl);
    text += &table(["", ""], facts(summary, tests).map(|(fact, value)| [fact.to_owned(), value]));
    let of = |fork: &Fork| [code(&fork.name), code(&fork.workload), images(fork), readiness(fork)];
    text += &table(["Fork", "Of", "Images", "State"], forks.iter().map(of));
    let replaced = services.iter().map(|service| [code(&service.service), code(&service.to)]);
    text += &table(["Service", "Reached instead"], replaced);
    text += &table(["Notes"], notes.iter().map(|note| [code(note)]));
    text
}

/// The comment on a sandbox that is gone.
#[must_use]
pub fn closed(marker: &Marker) -> String {
    let name = code(marker.sandbox());
    format!(
        "{marker}\n### Sandbox {name}: closed\n\nIt is gone. Requests with its key reach the \
         baseline.\n"
    )
}

/// The state of the sandbox in one or two words.
fn state(summary: &Summary) -> &'static str {
    let is_served = summary.served.is_none_or(|served| served.up_to_date == served.sidecars);
    if summary.error.is_some() {
        "failed"
    } else if is_served && summary.forks.iter().all(|fork| fork.ready) {
        "ready"
    } else {
        "not ready yet"
    }
}

/// What is known about the sandbox as a whole.
fn facts(
    summary: &Summary,
    tests: Option<Tests>,
) -> impl Iterator<Item = (&'static str, String)> + '_ {
    let ends = summary.expires.map(|expires| expires.strftime("%Y-%m-%d %H:%M UTC").to_string());
    let served = summary.served.map(|s| format!("{} of {} sidecars", s.up_to_date, s.sidecars));
    let tests = tests.map(|tests| match tests {
        Tests::Running => "running",
        Tests::Passed => "passed",
        Tests::Failed => "failed",
        Tests::Skipped => "skipped",
    });
    let facts = [
        ("Tests", tests.map(str::to_owned)),
        ("Key", Some(code(&summary.key))),
        ("Header", Some(code(&format!("baggage: {}", summary.baggage)))),
        ("Namespace", Some(code(&summary.namespace))),
        ("Served by", served),
        ("Ends", ends),
    ];
    facts.into_iter().filter_map(|(fact, value)| Some((fact, value?)))
}

fn images(fork: &Fork) -> String {
    let images = fork.images.iter().map(|(container, image)| format!("{container}={image}"));
    let images: Vec<_> = images.collect();
    code(&images.join(", "))
}

fn readiness(fork: &Fork) -> String {
    match (fork.ready, &fork.reason) {
        (true, _) => "ready".to_owned(),
        (false, None) => "not ready yet".to_owned(),
        (false, Some(reason)) => format!("not ready: {}", code(reason)),
    }
}
