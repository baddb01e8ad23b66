//! The cost of an environment: to render it, to open and close it, to have many of them, and what it
//! requests of the cluster.

mod many;
mod pods;
mod render;

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};

use self::{many::many, render::render};
use super::{Measured, Row};
use crate::{
    cluster::{build_program, machine},
    fixture,
    progress::Progress,
};

pub use self::pods::on_machine;

/// Measures environments. `program` is the one that runs this: it is started again on a machine of its
/// own, and calls [`on_machine`] there. Without a machine, the rows of Pods are missing.
///
/// # Errors
/// If a program does not start, or a command fails.
pub async fn environments() -> anyhow::Result<Measured> {
    build_program()?;
    let mut rows = render()?;
    rows.extend(many().await?);
    match machine::check() {
        Ok(()) => rows.extend(enter_machine()?),
        Err(reason) => rows.push(row("one fork in Pods", format!("not measured: {reason}"))),
    }
    Ok(Measured {
        title: format!(
            "Environments ({})",
            if cfg!(debug_assertions) { "a debug build" } else { "a release build" }
        ),
        columns: vec!["what", "figure"],
        rows,
    })
}

/// What [`on_machine`] prints in its last line.
fn enter_machine() -> anyhow::Result<Vec<Row>> {
    fixture::pods::prepare()?;
    let _progress = Progress::new("opening environments in Pods");
    let output = Command::new(machine::script())
        .arg(std::env::current_exe()?)
        .args(["--only", "environments"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run machine.sh")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "on the machine: {}\n{text}", output.status);
    let last = text.lines().next_back().context("the machine has printed nothing")?;
    serde_json::from_str(last).with_context(|| format!("the machine's last line is `{last}`"))
}

fn row(name: impl Into<String>, value: impl Into<String>) -> Row {
    Row { name: name.into(), values: vec![value.into()] }
}

fn milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

/// The median and the range of times, as "120 ms (110 to 180 ms)".
fn spread(times: &mut [Duration]) -> anyhow::Result<String> {
    let median = median(times)?;
    let (first, last) = (times.first().context(NONE)?, times.last().context(NONE)?);
    Ok(format!("{} ({} to {})", milliseconds(median), first.as_millis(), milliseconds(*last)))
}

fn median(times: &mut [Duration]) -> anyhow::Result<Duration> {
    times.sort();
    times.get(times.len() / 2).copied().context(NONE)
}

const NONE: &str = "nothing was measured";
