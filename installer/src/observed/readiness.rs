//! Whether a replica of the controller sees the cluster, as it says itself.

use kube::Client;
use serde::Serialize;

use super::sidecars::request;
use crate::names::NAMESPACE;

/// Whether the controller sees all changes of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "reason", rename_all = "camelCase")]
pub enum Readiness {
    /// Its watches work.
    Ready,
    /// They do not, for this many seconds.
    Behind(u64),
    /// Nobody could ask it, with the reason. It may not run in a Pod.
    Unknown(String),
}

impl Readiness {
    /// Asks the controller's Pod for its metrics, through the API server, at the only port that it
    /// declares. Not for `/readyz`: a 503 is an answer that kube's client does not take.
    pub async fn read(client: &Client, pod: &str) -> Self {
        // Anything else could lead to another path of the API server.
        let is_inner =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !pod.bytes().all(is_inner) {
            return Self::Unknown("the Lease's holder is not the name of a Pod".into());
        }
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}/proxy/metrics");
        match request(client, path).await {
            Ok(metrics) => Self::of(&metrics),
            Err(error) => Self::Unknown(error.to_string()),
        }
    }

    fn of(metrics: &str) -> Self {
        let line = metrics.lines().find_map(|line| line.strip_prefix(BEHIND));
        match line.and_then(|value| value.trim().parse().ok()) {
            // A watch that fails for less is restarted before anybody has to know.
            Some(0..5) => Self::Ready,
            Some(seconds) => Self::Behind(seconds),
            None => Self::Unknown(format!("its metrics have no valid `{BEHIND}`")),
        }
    }
}

/// The metric with the seconds for which the watches have failed.
const BEHIND: &str = "skycap_controller_behind";

#[cfg(test)]
mod tests {
    use super::Readiness;

    #[test]
    fn the_metric_says_for_how_long_the_watches_have_failed() {
        for (metrics, expected) in [
            (
                "# TYPE skycap_controller_behind gauge\nskycap_controller_behind 0\n",
                Readiness::Ready,
            ),
            ("a 1\nskycap_controller_behind 12\n", Readiness::Behind(12)),
        ] {
            assert_eq!(Readiness::of(metrics), expected);
        }
        assert!(matches!(Readiness::of("<html>"), Readiness::Unknown(_)));
    }
}
