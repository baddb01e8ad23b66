//! `skycap list`.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use kube::Client;

use super::{Format, Globals, ScopeArgs, files::FileArgs, report::whole_report};
use crate::{
    cli::message,
    diagnose::scope::Scope,
    observed::{published::read_published, snapshot},
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
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    output: Format,
}

impl ListArgs {
    pub(crate) async fn run(self, globals: &Globals) -> anyhow::Result<ExitCode> {
        let Self { files, scope, output } = self;
        let (report, scope) = if files.are_given() {
            let now = Timestamp::now();
            let input = files.input(now)?;
            (whole_report(&input, compile(&input, now)), scope.on_files(globals))
        } else {
            let client = globals.connect().await?;
            (read_whole(&client).await?, scope.on_cluster(globals, &client))
        };
        let report = scope.of_report(report);
        if output == Format::Table && report.fragments.is_empty() && report.problems.is_empty() {
            let hint = if scope == Scope::All { "" } else { "; list all namespaces with -A" };
            anstream::eprintln!("no sandboxes or groups in {scope}{hint}");
        } else {
            output.print(&report, || report.table())?;
        }
        Ok(ExitCode::SUCCESS)
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
