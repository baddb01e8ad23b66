//! Splits a YAML stream into documents.
//!
//! It is split here and not by the parser, so that a malformed document does not affect the others:
//! `---` at the start of a line ends a document in any context (YAML 1.2.2, section 9.1.2).

/// One document of a stream.
pub(super) struct Document<'a> {
    /// The number of lines of the stream before its text.
    pub(super) lines_before: u64,
    /// The line of the stream, from 1, with its first content.
    pub(super) line: usize,
    pub(super) text: &'a str,
}

/// The documents of a stream that have content.
pub(super) fn split(stream: &str) -> Vec<Document<'_>> {
    let mut found = Vec::new();
    let (mut rest, mut lines_before) = (stream, 0);
    loop {
        let end = end_of_document(rest);
        let (text, behind) = rest.split_at(end.unwrap_or(rest.len()));
        if let Some(first) = text.lines().position(has_content) {
            let line = lines_before as usize + first + 1;
            found.push(Document { lines_before, line, text });
        }
        if end.is_none() {
            return found;
        }
        lines_before += text.matches('\n').count() as u64;
        rest = behind;
    }
}

fn has_content(line: &str) -> bool {
    let line = line.strip_prefix("---").unwrap_or(line).trim_start();
    !line.is_empty() && !line.starts_with('#')
}

/// Where the next document begins: at the first `---` on a line of its own. One at the start of
/// `text` begins this document.
fn end_of_document(text: &str) -> Option<usize> {
    let markers = text.match_indices("\n---").map(|(newline, _)| newline + 1);
    markers.into_iter().find(|marker| {
        let behind = text.get(marker + 3..).unwrap_or_default();
        behind.is_empty() || behind.starts_with([' ', '\t', '\r', '\n'])
    })
}
