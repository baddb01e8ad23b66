//! Markdown as GitHub and GitLab read it, of texts that may be anything.

use std::iter;

use crate::problem::printable;

/// The text as a code span, clipped to about 1,000 bytes; nothing for an empty text.
///
/// In a code span only backticks and, in a table, `|` have a meaning. Backticks are fenced by more of
/// them. How `\|` is read behind another backslash differs between parsers, so `|` is escaped as other
/// characters are that could not be printed.
pub(super) fn code(text: &str) -> String {
    let text = printable(text).replace('|', "\\u{7c}");
    let fence = fence(&text, 1);
    let is_edge = |edge: Option<char>| matches!(edge, Some(' ' | '`'));
    // A parser takes one space off at both ends.
    let is_padded = is_edge(text.chars().next()) || is_edge(text.chars().next_back());
    match (text.is_empty(), is_padded) {
        (true, _) => String::new(),
        (_, true) => format!("{fence} {text} {fence}"),
        (_, false) => format!("{fence}{text}{fence}"),
    }
}

/// A block with a curl command; nothing for any other text, which GitLab could read as a quick action.
pub(super) fn sh(command: &str) -> String {
    let command = printable(command);
    if !command.starts_with("curl ") {
        return String::new();
    }
    let fence = fence(&command, 3);
    format!("{fence}sh\n{command}\n{fence}\n\n")
}

/// A table; nothing if it has no rows. Rows that have no room are counted below it.
pub(super) fn table<const N: usize>(
    header: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return String::new();
    }
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut table = line(&header.map(str::to_owned)) + &line(&header.map(|_| "---".to_owned()));
    let mut omitted = 0_usize;
    for row in rows {
        let row = line(&row);
        if omitted > 0 || table.len() + row.len() > TABLE_BYTES {
            omitted += 1;
        } else {
            table += &row;
        }
    }
    table.push('\n');
    if omitted > 0 {
        table += &format!("… and {omitted} more\n\n");
    }
    table
}

/// Backticks: at least `least`, and more than the text has in a row.
fn fence(text: &str, least: usize) -> String {
    let runs = text.split(|character| character != '`').map(str::len);
    let longest = runs.max().unwrap_or_default();
    iter::repeat_n('`', least.max(longest + 1)).collect()
}

/// A comment has four tables at most, and 65,536 characters.
const TABLE_BYTES: usize = 14_000;
