//! The `queues` of a sandbox: names of queues in its namespace, separated by commas.

use std::collections::BTreeSet;

use skycap_core::names::{InvalidName, check_label};

use super::BASELINE;
use crate::table::limits::FRAGMENT_QUEUES;

/// Parses the list of the sandbox whose ConfigMap has this name.
pub(crate) fn parse(text: &str, sandbox: &str) -> Result<Vec<String>, InvalidQueues> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let names: Vec<_> = names.map(str::to_owned).collect();
    check(&names, sandbox)?;
    Ok(names)
}

/// Checks the list of the sandbox whose ConfigMap has this name.
pub(crate) fn check(names: &[String], sandbox: &str) -> Result<(), InvalidQueues> {
    let mut seen = BTreeSet::new();
    for name in names {
        check_label(name)?;
        if !seen.insert(name) {
            return Err(InvalidQueues::Twice(name.into()));
        }
    }
    if names.len() > FRAGMENT_QUEUES {
        return Err(InvalidQueues::TooMany(names.len()));
    }
    // Its name becomes a part of the names of topics.
    if !names.is_empty() && (sandbox == BASELINE || check_label(sandbox).is_err()) {
        return Err(InvalidQueues::Sandbox(sandbox.into()));
    }
    Ok(())
}

/// Why `queues` is rejected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidQueues {
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error("queue `{0}` is listed twice; keep one of them")]
    Twice(String),
    #[error("{0} queues: expected at most {FRAGMENT_QUEUES}; remove some")]
    TooMany(usize),
    #[error(
        "a sandbox named `{0}` cannot have queues, because its name becomes a part of the names of \
         topics: expected a DNS label other than `{BASELINE}`; choose another name"
    )]
    Sandbox(String),
}
