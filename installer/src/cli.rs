//! The command line as typed, and what each command does with it.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;

use crate::{
    compile::{Compilation, compile},
    input::Input,
    manifests::Manifests,
    report::Report,
};

/// Routes the requests of a pull request to the services that it changes.
#[derive(Debug, Parser)]
#[command(name = "skycap", version, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 something was refused, 2 wrong usage.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Compile(Compile),
}

/// Compile ConfigMaps into a routing table, without a cluster
///
/// Reads the ConfigMaps labelled `skycap.dev/kind`, the settings `skycap-system/skycap`, and, where
/// there are any, Services and EndpointSlices. Without a Service all are taken to exist, without an
/// EndpointSlice all are taken to be ready. What is refused or of no effect is told on stderr.
#[derive(Debug, Args)]
#[command(after_help = "Example: skycap compile -f deploy/examples -o report")]
struct Compile {
    /// Files or folders of Kubernetes YAML; `-` reads stdin
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true, num_args = 1..)]
    paths: Vec<PathBuf>,
    /// What to print
    #[arg(short, long, value_enum)]
    output: Output,
    /// How to print the report
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The time at which to compile, in RFC 3339 [default: the clock's]
    #[arg(long, value_name = "RFC3339")]
    now: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// The JSON that goes into `pluginConfig`
    PluginConfig,
    /// What every fragment routes, what was refused or warned of, and why
    Report,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For machines
    Json,
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// What the user must mend before anything can be done; exit code 2.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Compile(compile) => compile.run(),
        }
    }
}

impl Compile {
    fn run(self) -> anyhow::Result<ExitCode> {
        let Self { paths, output, format, now } = self;
        let now = now.unwrap_or_else(Timestamp::now);
        let input = Input::new(&Manifests::read(&paths)?, now);
        let Compilation { config, report, .. } = compile(&input, now);
        match output {
            Output::PluginConfig => {
                tell(&report);
                if let Some(config) = config {
                    print(&config.into_json().context("cannot write the table as JSON")?)?;
                }
            }
            // The report has the problems already.
            Output::Report if format == Format::Table => print(&report.table())?,
            Output::Report => {
                tell(&report);
                print(&serde_json::to_string_pretty(&report).context("cannot write the report")?)?;
            }
        }
        Ok(if report.refuses() { ExitCode::from(1) } else { ExitCode::SUCCESS })
    }
}

/// Says on stderr what was refused or warned of.
fn tell(report: &Report) {
    for problem in &report.problems {
        anstream::eprintln!("{problem}");
    }
}

/// Prints to stdout; a reader that has gone away is no error, as with `| head`.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    match writeln!(anstream::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to stdout"),
    }
}
