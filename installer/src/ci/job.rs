//! The CI job that this process runs in, read from the variables that the runner sets.

use std::{fs, io};

use reqwest::header::HeaderValue;
use serde::Deserialize;

/// A job of a pull request (on GitLab: a merge request), with the right to comment on it.
#[derive(Debug)]
pub struct Job {
    pub(super) host: Host,
    /// The URL of the API, without a slash at its end.
    pub(super) api: String,
    /// The path of the pull request's comments below `api`.
    pub(super) comments: String,
    /// The `Authorization` header: marked as sensitive, so that it is never printed.
    pub(super) authorization: HeaderValue,
}

/// Whose API it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// GitHub, with the repository as `OWNER/NAME`.
    GitHub { repository: String },
    /// GitLab.
    GitLab,
}

/// A process that does not run in such a job.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// It runs in no job at all.
    #[error(
        "neither $GITHUB_API_URL nor $CI_API_V4_URL is set: `skycap ci` runs in a job of GitHub \
         Actions or of GitLab CI/CD, whose runner sets them"
    )]
    NotInCi,
    /// A variable is missing.
    #[error("${variable} is not set; {advice}")]
    Missing {
        /// The variable's name.
        variable: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// The token cannot be sent.
    #[error(
        "${0} has a character that no token has, such as a line break; set it to the token alone"
    )]
    InvalidToken(&'static str),
    /// GitHub's event cannot be read.
    #[error(
        "cannot read the event in $GITHUB_EVENT_PATH, `{path}`; run it in a job of GitHub Actions"
    )]
    UnreadableEvent {
        /// The file.
        path: String,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// GitHub's event is about something else.
    #[error(
        "the event in $GITHUB_EVENT_PATH, `{0}`, is not about a pull request; run the job \
         `on: pull_request`"
    )]
    NoPullRequest(String),
}

impl Job {
    /// Reads the variables: `variable` returns the value of one.
    ///
    /// # Errors
    /// [`JobError`].
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, JobError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        if let Some(api) = variable("GITHUB_API_URL") {
            Self::on_github(api, variable)
        } else if let Some(api) = variable("CI_API_V4_URL") {
            Self::on_gitlab(api, variable)
        } else {
            Err(JobError::NotInCi)
        }
    }

    fn on_github(api: String, variable: impl Fn(&str) -> Option<String>) -> Result<Self, JobError> {
        let need =
            |name, advice| variable(name).ok_or(JobError::Missing { variable: name, advice });
        let repository = need("GITHUB_REPOSITORY", RUNNER)?;
        let number = pull_request(need("GITHUB_EVENT_PATH", RUNNER)?)?;
        let token = need(
            "GITHUB_TOKEN",
            "pass it to the step: `env: {GITHUB_TOKEN: ${{ github.token }}}`",
        )?;
        Ok(Self {
            comments: format!("/repos/{repository}/issues/{number}/comments"),
            authorization: bearer("GITHUB_TOKEN", &token)?,
            host: Host::GitHub { repository },
            api: without_slash(&api),
        })
    }

    fn on_gitlab(api: String, variable: impl Fn(&str) -> Option<String>) -> Result<Self, JobError> {
        let need =
            |name, advice| variable(name).ok_or(JobError::Missing { variable: name, advice });
        let project = need("CI_PROJECT_ID", RUNNER)?;
        let number = need(
            "CI_MERGE_REQUEST_IID",
            "run the job in a merge request's pipeline: `rules: [{if: $CI_PIPELINE_SOURCE == \
             \"merge_request_event\"}]`",
        )?;
        // A job's own token, $CI_JOB_TOKEN, has no right to write notes.
        let token = need(
            "GITLAB_TOKEN",
            "make a project access token with the role Developer and the scope `api`, and save it as \
             a masked variable of the project: the job's own token may not write comments",
        )?;
        Ok(Self {
            host: Host::GitLab,
            comments: format!("/projects/{project}/merge_requests/{number}/notes"),
            authorization: bearer("GITLAB_TOKEN", &token)?,
            api: without_slash(&api),
        })
    }
}

/// The number of the pull request that GitHub's event is about.
fn pull_request(path: String) -> Result<u64, JobError> {
    let event = match fs::read(&path) {
        Ok(event) => event,
        Err(source) => return Err(JobError::UnreadableEvent { path, source }),
    };
    match serde_json::from_slice(&event) {
        Ok(Event { pull_request: Some(Numbered { number }) }) => Ok(number),
        _ => Err(JobError::NoPullRequest(path)),
    }
}

/// What is read of GitHub's event.
#[derive(Deserialize)]
struct Event {
    pull_request: Option<Numbered>,
}

#[derive(Deserialize)]
struct Numbered {
    number: u64,
}

/// Both APIs take their tokens in this form.
fn bearer(variable: &'static str, token: &str) -> Result<HeaderValue, JobError> {
    let header = HeaderValue::try_from(format!("Bearer {token}"));
    let mut header = header.map_err(|_| JobError::InvalidToken(variable))?;
    header.set_sensitive(true);
    Ok(header)
}

fn without_slash(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}

const RUNNER: &str = "the runner sets it in every job; do not unset it";
