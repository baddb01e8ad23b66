//! `skycap ci comment` and `skycap ci variables`.

use std::{
    env, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{Usage, print};
use crate::{
    ci::{Done, Job, PullRequest},
    environment::{
        comment::{self, Marker, Tests},
        summary::Summary,
    },
    problem::printable,
};

/// Run a step of a CI job
#[derive(Debug, Args)]
pub struct CiArgs {
    #[command(subcommand)]
    command: CiCommand,
}

#[derive(Debug, Subcommand)]
enum CiCommand {
    Comment(CommentArgs),
    Variables(VariablesArgs),
}

/// Write the comment about a sandbox on its pull request
///
/// There is one comment for each sandbox. It is edited when the sandbox changes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    skycap up -f skycap.yaml -o json >sandbox.json; skycap ci comment --environment sandbox.json\n  \
    skycap ci comment --environment sandbox.json --tests passed\n  \
    skycap ci comment --closed\n\n\
    It runs in a job of GitHub Actions (with GITHUB_TOKEN) or of GitLab CI/CD (with GITLAB_TOKEN, a\n\
    project access token with the role Developer and the scope `api`).")]
struct CommentArgs {
    /// What `skycap up -o json` printed; `-` is stdin
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "closed",
        conflicts_with = "closed"
    )]
    environment: Option<PathBuf>,
    /// How far the tests are
    #[arg(long, value_enum, value_name = "STATE", conflicts_with = "closed")]
    tests: Option<Tests>,
    /// Say that the sandboxes of the pull request are gone
    #[arg(long)]
    closed: bool,
    /// With --closed: only this sandbox
    #[arg(long, value_name = "NAME", requires = "closed")]
    sandbox: Option<String>,
}

/// Print the variables for later steps of the job, as NAME=VALUE
///
/// In this form, GitHub takes them in $GITHUB_OUTPUT, and GitLab as a report of the type `dotenv`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: skycap ci variables --environment sandbox.json >>\"$GITHUB_OUTPUT\""
)]
struct VariablesArgs {
    /// What `skycap up -o json` printed; `-` is stdin
    #[arg(long, value_name = "FILE")]
    environment: PathBuf,
}

impl CiArgs {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            CiCommand::Comment(comment) => comment.run().await,
            CiCommand::Variables(variables) => variables.run(),
        }
    }
}

impl VariablesArgs {
    fn run(self) -> anyhow::Result<ExitCode> {
        let Summary { sandbox, namespace, key, baggage, .. } = read(&self.environment)?;
        for (name, value) in [
            ("SKYCAP_SANDBOX", sandbox),
            ("SKYCAP_NAMESPACE", namespace),
            ("SKYCAP_KEY", key),
            ("SKYCAP_BAGGAGE", baggage),
        ] {
            // A line break would set a variable of its own.
            print(&format!("{name}={}", printable(&value)))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl CommentArgs {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let Self { environment, tests, closed: _, sandbox } = self;
        let pull_request = || -> anyhow::Result<_> {
            let job = Job::read(|name| env::var(name).ok()).map_err(Usage::from)?;
            Ok(PullRequest::of(job)?)
        };
        if let Some(path) = environment {
            let summary = read(&path)?;
            let (marker, text) = (Marker::of(&summary), comment::open(&summary, tests));
            let done = match pull_request()?.put(&marker, &text).await.context(FAILED)? {
                Done::Made => "made",
                Done::Edited => "edited",
                Done::Unchanged => "already up to date",
            };
            anstream::eprintln!("comment on sandbox `{}`: {done}", summary.sandbox);
        } else {
            let closed = pull_request()?.replace(sandbox.as_deref(), comment::closed).await;
            let closed = closed.context(FAILED)?;
            for marker in &closed {
                anstream::eprintln!("comment on sandbox `{}`: closed", marker.sandbox());
            }
            if closed.is_empty() {
                anstream::eprintln!("no comment to close");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads what `up` printed.
fn read(path: &Path) -> anyhow::Result<Summary> {
    let mut text = Vec::new();
    let read = match path.to_str() {
        Some("-") => io::stdin().read_to_end(&mut text).map(drop),
        _ => fs::read(path).map(|read| text = read),
    };
    read.with_context(|| format!("cannot read `{}`", path.display()))?;
    serde_json::from_slice(&text).with_context(|| {
        format!(
            "`{}` is not what `skycap up -o json` prints; pass its whole output",
            path.display()
        )
    })
}

const FAILED: &str = "cannot write the comment";
