//! The splitter of a queue beside a broker: `installer/queue/tests/figures` measures, because librdkafka is not
//! a part of this crate.

use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use super::{Measured, Row};
use crate::{kafka, progress::Progress, workspace};

/// Messages a second, added latency, and memory.
///
/// # Errors
/// If Kafka is not available, or the measurement fails.
pub fn queue() -> anyhow::Result<Measured> {
    kafka::obtain()?;
    let _progress = Progress::new("building and measuring the splitter, for some minutes");
    let output = Command::new("cargo")
        .current_dir(workspace::root())
        .args(["test", "--quiet", "--locked", "--release", "--package", "skycap-queue"])
        .args(["--test", "figures"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "the measurement has failed");
    let text = String::from_utf8(output.stdout)?;
    let rows = text.lines().filter(|line| line.starts_with('{'));
    Ok(Measured {
        title: "The splitter beside the broker on the same cores, messages of 1 KiB".into(),
        columns: vec!["what", "figure", ""],
        rows: rows.map(serde_json::from_str).collect::<Result<Vec<Row>, _>>()?,
    })
}
