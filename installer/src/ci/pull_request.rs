//! The comments of a pull request, by the API of GitHub or GitLab.
//!
//! Both APIs have the same shape: a list of comments in pages, of which each has an `id` and a `body`.
//! They differ in the paths, in the method that edits, and in what tells whose comment it is.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use reqwest::Method;
use serde::Deserialize;

use super::{
    CommentError,
    api::Api,
    job::{Host, Job},
};
use crate::environment::comment::Marker;

/// A pull request whose comments are read and written. On GitLab it is a merge request.
#[derive(Debug)]
pub struct PullRequest {
    api: Api,
    host: Host,
    /// The path of its comments.
    comments: String,
}

/// What has happened to a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It is new.
    Made,
    /// It has another text.
    Edited,
    /// It had this text already.
    Unchanged,
}

/// A comment, as far as it is read.
#[derive(Debug, Deserialize)]
struct Comment {
    id: u64,
    #[serde(default)]
    body: String,
    #[serde(default, alias = "user")]
    author: Author,
    /// GitHub: how its author belongs to the repository.
    #[serde(default)]
    author_association: String,
}

/// The author of a comment.
#[derive(Debug, Default, Deserialize)]
struct Author {
    #[serde(default)]
    id: u64,
    /// GitHub: `User` or `Bot`.
    #[serde(default, rename = "type")]
    kind: String,
}

impl PullRequest {
    /// The pull request of a job.
    ///
    /// # Errors
    /// If there is no client for HTTPS: without certificate authorities, for example.
    pub fn of(job: Job) -> Result<Self, CommentError> {
        let Job { host, api, comments, authorization } = job;
        Ok(Self { api: Api::new(api, authorization)?, host, comments })
    }

    /// Gives the sandbox's comment this text, and makes it if there is none.
    ///
    /// # Errors
    /// [`CommentError`], after several attempts if it may be transient.
    pub async fn put(&self, marker: &Marker, text: &str) -> Result<Done, CommentError> {
        let put = async || {
            let ours = self.ours().await?;
            if let Some((comment, _)) = ours.iter().find(|(_, found)| found == marker) {
                return self.edit(comment, text).await;
            }
            self.api.write(Method::POST, &self.comments, text).await?;
            Ok(Done::Made)
        };
        retry(put).await
    }

    /// Gives the comments on one sandbox, or those on all, this text. Returns their markers.
    ///
    /// # Errors
    /// [`CommentError`], after several attempts if it may be transient.
    pub async fn replace(
        &self,
        sandbox: Option<&str>,
        text: impl Fn(&Marker) -> String,
    ) -> Result<Vec<Marker>, CommentError> {
        let replace = async || {
            let mut replaced = Vec::new();
            for (comment, marker) in self.ours().await? {
                if sandbox.is_none_or(|sandbox| sandbox == marker.sandbox()) {
                    self.edit(&comment, &text(&marker)).await?;
                    replaced.push(marker);
                }
            }
            Ok(replaced)
        };
        retry(replace).await
    }

    async fn edit(&self, comment: &Comment, text: &str) -> Result<Done, CommentError> {
        // Both hosts trim a text.
        if comment.body.trim_end() == text.trim_end() {
            return Ok(Done::Unchanged);
        }
        let (method, path) = match &self.host {
            Host::GitHub { repository } => {
                (Method::PATCH, format!("/repos/{repository}/issues/comments/{}", comment.id))
            }
            Host::GitLab => (Method::PUT, format!("{}/{}", self.comments, comment.id)),
        };
        self.api.write(method, &path, text).await?;
        Ok(Done::Edited)
    }

    /// Skycap's comments, oldest first. Anybody may write a comment with a marker, and would own what
    /// skycap writes into it. So on GitLab a comment must be of the token's own user. GitHub does not
    /// tell a job who it is: there, the author must be a bot or someone who may write to the repository.
    async fn ours(&self) -> Result<Vec<(Comment, Marker)>, CommentError> {
        let mut comments: Vec<Comment> = self.api.list(&self.comments).await?;
        match self.host {
            Host::GitHub { .. } => {
                comments.retain(|Comment { author, author_association, .. }| {
                    author.kind == "Bot" || TRUSTED.contains(&author_association.as_str())
                });
            }
            Host::GitLab => {
                let me: Author = self.api.get("/user").await?;
                comments.retain(|comment| comment.author.id == me.id);
            }
        }
        comments.sort_by_key(|comment| comment.id);
        let marked = |comment: Comment| {
            let marker = Marker::read(&comment.body)?;
            Some((comment, marker))
        };
        Ok(comments.into_iter().filter_map(marked).collect())
    }
}

/// Repeats the whole of `work` after a transient error, and not one request of it: a comment that was
/// made although the answer was an error is found by the next attempt, and not made twice.
async fn retry<T>(work: impl AsyncFn() -> Result<T, CommentError>) -> Result<T, CommentError> {
    let attempts = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(250))
        .with_max_times(4)
        .with_jitter();
    (|| work()).retry(attempts).when(CommentError::is_transient).await
}

/// GitHub's associations with the right to write.
const TRUSTED: [&str; 3] = ["COLLABORATOR", "MEMBER", "OWNER"];
