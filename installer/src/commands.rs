//! The commands: the arguments of each one, and what it does with them.

pub mod check;
pub mod ci;
pub mod compile;
pub mod controller;
pub mod down;
mod duration;
pub mod enable;
pub mod explain;
mod files;
pub mod install;
pub mod list;
mod mesh;
pub mod plugin;
mod progress;
pub mod release;
pub mod render;
mod report;
pub mod rollout;
mod sandbox_file;
pub mod shell;
pub mod status;
pub mod sync;
pub mod test;
pub mod uninstall;
pub mod up;
mod usage;
mod verify;
pub mod version;
pub mod wait;

use anyhow::Context as _;
use clap::ValueEnum;
use kube::Client;
use serde::Serialize;

pub use self::usage::Usage;
use crate::{
    diagnose::scope::Scope,
    observed::connect::{ConnectError, connect},
    table::report::Report,
};

/// Which cluster and which namespace a command is about.
#[derive(Debug, clap::Args)]
pub struct Globals {
    /// Kubeconfig context to use [default: the current context]
    #[arg(long, global = true, value_name = "NAME", help_heading = GLOBAL)]
    pub context: Option<String>,
    /// Namespace to use [default: the namespace of the context]
    #[arg(short, long, global = true, value_name = "NAMESPACE", help_heading = GLOBAL)]
    pub namespace: Option<String>,
}

/// Whether a command looks at one namespace or at all of them.
#[derive(Debug, clap::Args)]
pub(crate) struct ScopeArgs {
    /// Look at all namespaces, even if `--namespace` is given
    #[arg(short = 'A', long)]
    all_namespaces: bool,
}

/// How to print an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for people
    Table,
    /// JSON for programs
    Json,
    /// YAML for programs
    Yaml,
}

impl Globals {
    /// Connects to the cluster.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub(crate) async fn connect(&self) -> Result<Client, ConnectError> {
        connect(self.context.as_deref()).await
    }

    /// The namespace that was given, or else the one of the client's context.
    pub(crate) fn namespace<'a>(&'a self, client: &'a Client) -> &'a str {
        self.namespace.as_deref().unwrap_or_else(|| client.default_namespace())
    }
}

impl ScopeArgs {
    /// On a cluster: the namespace of [`Globals::namespace`], unless `-A` is given.
    pub(crate) fn on_cluster(&self, globals: &Globals, client: &Client) -> Scope {
        if self.all_namespaces {
            return Scope::All;
        }
        Scope::Namespace(globals.namespace(client).to_owned())
    }

    /// For files: all namespaces, unless `-n` is given and `-A` is not.
    pub(crate) fn on_files(&self, globals: &Globals) -> Scope {
        let namespace = globals.namespace.clone().filter(|_| !self.all_namespaces);
        namespace.map_or(Scope::All, Scope::Namespace)
    }
}

impl Format {
    /// Prints `value`; as a table, prints the text that `table` returns.
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

/// Prints a report's refusals and warnings to stderr, one per line.
pub(crate) fn print_problems(report: &Report) {
    for problem in &report.problems {
        anstream::eprintln!("{problem}");
    }
}

/// Prints to stdout. A closed pipe is not an error, as in `skycap list | head`.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    match writeln!(anstream::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to stdout"),
    }
}

const GLOBAL: &str = "Global options";
