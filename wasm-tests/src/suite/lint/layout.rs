//! The check of the layout: no file of Rust is so long that a reader must search in it.

use std::fs;

use anyhow::ensure;

use super::tracked::tracked_files;
use crate::workspace;

/// Counts the lines of every tracked file of Rust.
pub(super) fn check() -> anyhow::Result<()> {
    let root = workspace::root();
    let files = tracked_files(&root)?;
    let is_rust = |file: &&String| file.ends_with(".rs");
    let length =
        |file: &String| fs::read_to_string(root.join(file)).map_or(0, |s| s.lines().count());
    let long = files.iter().filter(is_rust).map(|file| (file, length(file)));
    let long = long.filter(|(_, lines)| *lines > LINES);
    let long: Vec<_> = long.map(|(file, lines)| format!("{file} ({lines})")).collect();
    ensure!(
        long.is_empty(),
        "files have more than {LINES} lines: {}; split each by what it is about",
        long.join(", ")
    );
    Ok(())
}

const LINES: usize = 250;
