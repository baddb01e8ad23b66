//! The commands: each one's arguments, and what it does with them.

pub mod check;
pub mod compile;
pub mod controller;
pub mod explain;
pub mod install;
pub mod mesh;
pub mod plugin;
pub mod progress;
pub mod rollout;
pub mod shell;
pub mod status;
pub mod sync;
pub mod toggle;

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;

use crate::table::report::Report;

/// What holds for every command that speaks to a cluster.
#[derive(Debug, clap::Args)]
pub struct Globals {
    /// The context of the kubeconfig [default: the current one, or the Pod's own cluster]
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The namespace of what is named [default: default]
    #[arg(short, long, global = true, value_name = "NAME", default_value = "default")]
    #[arg(hide_default_value = true)]
    pub namespace: String,
}

/// A mistake in what was typed, as opposed to what a cluster or a file refuses.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// How to print what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For machines
    Json,
    /// For machines that people read
    Yaml,
}

impl Format {
    /// Prints `value`, or for people what `table` says.
    pub(crate) fn print(
        self,
        value: &impl Serialize,
        table: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        match self {
            Self::Table => print(&table()),
            Self::Json => print(&serde_json::to_string_pretty(value).context("cannot write JSON")?),
            Self::Yaml => {
                print(serde_saphyr::to_string(value).context("cannot write YAML")?.trim_end())
            }
        }
    }
}

/// Says on stderr what was refused or warned of.
pub(crate) fn tell(report: &Report) {
    for problem in &report.problems {
        anstream::eprintln!("{problem}");
    }
}

/// Prints to stdout; a reader that has gone away is no error, as with `| head`.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    match writeln!(anstream::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to stdout"),
    }
}
