//! `skycap list`.

mod table;

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use kube::Client;

use self::table::Listing;
use super::{Format, Globals, ScopeArgs, files::FileArgs, report::whole_report};
use crate::{
    cli::message,
    diagnose::scope::Scope,
    observed::{
        forks::{self, ListedFork},
        published::read_published,
        snapshot,
    },
    table::{compile::compile, report::Report},
};

/// List sandboxes and groups with their routes and problems
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    skycap list -A\n  \
    skycap list -f deploy/examples\n\n\
    With -f, all namespaces are listed unless -n is given.")]
pub struct ListArgs {
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Output::Table)]
    output: Output,
}

/// How to print the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Text for people
    Table,
    /// The same with all columns
    Wide,
    /// JSON for programs
    Json,
    /// YAML for programs
    Yaml,
}

impl ListArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { files, scope, output } = self;
        let now = Timestamp::now();
        let (report, scope, forks) = if files.are_given() {
            let input = files.input(now)?;
            (whole_report(&input, compile(&input, now)), scope.on_files(globals), None)
        } else {
            let client = globals.connect().await?;
            let scope = scope.on_cluster(globals, &client);
            let report = read_whole(&client).await?;
            let forks = read_forks(&client, &scope).await;
            (report, scope, forks)
        };
        let report = scope.of_report(report);
        let is_text = matches!(output, Output::Table | Output::Wide);
        if is_text && report.fragments.is_empty() && report.problems.is_empty() {
            let hint = if scope == Scope::All { "" } else { "; list all namespaces with -A" };
            anstream::eprintln!("no sandboxes or groups in {scope}{hint}");
        } else {
            let listing = Listing { report, forks };
            let format = match output {
                Output::Table | Output::Wide => Format::Table,
                Output::Json => Format::Json,
                Output::Yaml => Format::Yaml,
            };
            format.print(&listing, || listing.table(now, output == Output::Wide))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The forks of the namespace. Who may not read them gets a list without them.
async fn read_forks(client: &Client, scope: &Scope) -> Option<Vec<ListedFork>> {
    let namespace = match scope {
        Scope::All => None,
        Scope::Namespace(namespace) => Some(namespace.as_str()),
    };
    match forks::list(client, namespace).await {
        Ok(forks) => Some(forks),
        Err(error) => {
            anstream::eprintln!("warning: the state of the forks is missing: {}", message(&error));
            None
        }
    }
}

/// The controller's report. One that had no room for all fragments is replaced by a compile of the
/// cluster, because the namespace that was asked for may be among the omitted ones.
async fn read_whole(client: &Client) -> anyhow::Result<Report> {
    let (_, report) = read_published(client).await?;
    if report.omitted == 0 {
        return Ok(report);
    }
    let now = Timestamp::now();
    match snapshot::read(client, now).await {
        Ok(input) => Ok(whole_report(&input, compile(&input, now))),
        Err(error) => {
            anstream::eprintln!(
                "warning: {} fragments are missing from the list: the controller's report has no \
                 room for them, and the cluster cannot be read: {}",
                report.omitted,
                message(&error)
            );
            Ok(report)
        }
    }
}
