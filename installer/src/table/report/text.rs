//! The report as tables for people.

use anstyle::{AnsiColor, Style};
use skycap_core::key::RoutingKey;
use tabled::{Table, Tabled, settings::Style as Frame};

use super::{FragmentReport, FragmentState, Report};
use crate::problem::{Problem, Severity};

/// The report as text, at most 100 columns wide unless names are long.
pub(super) fn report(report: &Report) -> String {
    let fragments = report.fragments.iter().map(row).map(FragmentRow::from);
    let refused = refused_rows(&report.problems)
        .map(|[name, state]| FragmentRow::from([name, String::new(), state, String::new()]));
    report_with(report, table(fragments.chain(refused)))
}

/// The same with another table of the fragments.
pub(super) fn report_with(report: &Report, fragments: Option<String>) -> String {
    let mut text = fragments.unwrap_or_else(|| "no sandboxes or groups".into());
    if report.omitted > 0 {
        text.push_str(&format!("\n … and {} more", report.omitted));
    }
    text.extend(problems(&report.problems).map(|problems| format!("\n\n{problems}")));
    if report.omitted_problems > 0 {
        text.push_str(&format!("\n … and {} more problems", report.omitted_problems));
    }
    if report.disabled {
        let notice = "routing is off in the settings: every request goes to the baseline";
        text.insert_str(0, &format!("{notice}\n\n"));
    }
    if !report.compiled {
        text.push_str("\n\nno table: correct the settings; until then, the last valid table stays in the mesh");
    }
    text
}

/// Problems as text; `None` if there are none.
pub(crate) fn problems(problems: &[Problem]) -> Option<String> {
    table(problems.iter().map(ProblemRow::from))
}

/// The name and the state of what is rejected.
pub(crate) fn refused_rows(problems: &[Problem]) -> impl Iterator<Item = [String; 2]> {
    let refused = problems.iter().filter(|problem| problem.severity == Severity::Refused);
    refused.map(|problem| {
        // The object; a document that cannot be read has none, and then its place in the file.
        [problem.place().swap_remove(0), paint(AnsiColor::Red, problem.severity.label())]
    })
}

#[derive(Tabled)]
struct FragmentRow {
    fragment: String,
    key: String,
    state: String,
    routes: String,
}

impl From<[String; 4]> for FragmentRow {
    fn from([fragment, key, state, routes]: [String; 4]) -> Self {
        Self { fragment, key, state, routes }
    }
}

/// The name, key, state and routes of a fragment.
pub(crate) fn row(report: &FragmentReport) -> [String; 4] {
    let color = match report.state {
        FragmentState::Active => AnsiColor::Green,
        FragmentState::Disabled | FragmentState::Expired | FragmentState::Unselected => {
            AnsiColor::Yellow
        }
        FragmentState::Evicted => AnsiColor::Red,
    };
    let routes = report.routes.iter().map(ToString::to_string);
    let joins: Vec<_> = report.joins.iter().map(RoutingKey::as_str).collect();
    let joins = (!joins.is_empty()).then(|| format!("+ {}", joins.join(", ")));
    let routes = wrap(&routes.chain(joins).collect::<Vec<_>>().join("\n"));
    [report.id(), report.key.clone(), paint(color, report.state.label()), routes]
}

#[derive(Tabled)]
struct ProblemRow {
    severity: String,
    #[tabled(rename = "where")]
    place: String,
    what: String,
}

impl From<&Problem> for ProblemRow {
    fn from(problem: &Problem) -> Self {
        let color = match problem.severity {
            Severity::Refused => AnsiColor::Red,
            Severity::Warning => AnsiColor::Yellow,
        };
        Self {
            severity: paint(color, problem.severity.label()),
            place: problem.place().join("\n"),
            what: wrap(&problem.text),
        }
    }
}

/// A table; `None` if there are no rows.
fn table<R: Tabled>(rows: impl Iterator<Item = R>) -> Option<String> {
    let mut rows = rows.peekable();
    rows.peek()?;
    let mut table = Table::new(rows);
    table.with(Frame::blank());
    let text = table.to_string();
    Some(text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"))
}

/// Breaks lines between words at [`WIDE`] characters. A longer word is not broken, so that it can be
/// copied.
fn wrap(text: &str) -> String {
    let mut wrapped = String::with_capacity(text.len());
    for (number, line) in text.lines().enumerate() {
        wrapped.push_str(if number > 0 { "\n" } else { "" });
        let mut width = 0;
        for word in line.split(' ') {
            let length = word.chars().count();
            if width > 0 && width + 1 + length > WIDE {
                wrapped.push('\n');
                width = 0;
            }
            if width > 0 {
                wrapped.push(' ');
                width += 1;
            }
            wrapped.push_str(word);
            width += length;
        }
    }
    wrapped
}

/// The width of the widest column, in characters.
const WIDE: usize = 56;

fn paint(color: AnsiColor, text: &str) -> String {
    let style = Style::new().fg_color(Some(color.into()));
    format!("{style}{text}{style:#}")
}
