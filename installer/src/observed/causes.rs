//! The text of an error with its causes, each of them once.

use std::error::Error;

use kube::runtime::watcher;

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
    error.chain().any(|cause| match cause.downcast_ref() {
        Some(kube::Error::Api(status)) => status.is_forbidden(),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use kube::core::Status;

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
