//! The text of an error with its causes, each of them once.

use std::error::Error;

use kube::{core::Status, runtime::watcher};

/// `error` and its causes in one line.
///
/// The texts of kube's errors contain those of their causes, and the text of [`kube::Error::Api`]
/// even contains its `Debug` form. For these, only the causes are written.
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        next = cause.source();
        if next.is_some() && (cause.is::<kube::Error>() || cause.is::<watcher::Error>()) {
            continue;
        }
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&cause);
        }
    }
    text
}

/// Whether the API server denied a request for lack of a permission.
pub fn is_forbidden(error: &anyhow::Error) -> bool {
    status_of(error).is_some_and(Status::is_forbidden) && !is_terminating(error)
}

/// Whether the API server denied a request because the namespace is being deleted.
pub fn is_terminating(error: &anyhow::Error) -> bool {
    let causes = status_of(error).and_then(|status| status.details.as_ref());
    causes.is_some_and(|it| it.causes.iter().any(|cause| cause.reason == TERMINATING))
}

/// Whether the API server did not answer at all, or with an error that is its own and passes.
pub fn is_away(error: &anyhow::Error) -> bool {
    match error.chain().find_map(|cause| cause.downcast_ref()) {
        Some(kube::Error::Service(_) | kube::Error::HyperError(_)) => true,
        Some(kube::Error::Api(status)) => status.code == 429 || status.code >= 500,
        _ => false,
    }
}

fn status_of(error: &anyhow::Error) -> Option<&Status> {
    error.chain().find_map(|cause| match cause.downcast_ref()? {
        kube::Error::Api(status) => Some(&**status),
        _ => None,
    })
}

/// Why a namespace that is being deleted takes nothing new (`NamespaceTerminatingCause` of the API).
const TERMINATING: &str = "NamespaceTerminating";

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_api_servers_message_is_written_once() {
        let status = Status::failure("pods is forbidden", "Forbidden").with_code(403).boxed();
        let error = watcher::Error::InitialListFailed(kube::Error::Api(status));
        let error = Err::<(), _>(error).context("cannot watch Pods");
        let text = error.map_err(|error| causes(error.as_ref()));
        assert_eq!(text, Err("cannot watch Pods: pods is forbidden: Forbidden".into()));
    }
}
