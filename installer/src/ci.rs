//! The CI job that runs the command, and the pull request that it is for.
//!
//! [`Job`] reads the variables that the runner sets, [`PullRequest`] the comments by GitHub's or
//! GitLab's API. What a comment says is in [`environment::comment`](crate::environment::comment).

mod api;
mod job;
mod pull_request;

pub use self::{
    api::CommentError,
    job::{Job, JobError},
    pull_request::{Done, PullRequest},
};
