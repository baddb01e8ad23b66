//! What a replica of the controller says of its own watches.

use std::time::Duration;

use kube::Client;
use serde::Serialize;

use crate::names::NAMESPACE;

/// Whether the controller sees all changes of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "reason", rename_all = "camelCase")]
pub enum Readiness {
    /// Its watches work.
    Ready,
    /// They do not, with the controller's own words: which, and for how long.
    NotReady(String),
    /// Nobody could ask it, with the reason. It may not run in a Pod.
    Unknown(String),
}

impl Readiness {
    /// Asks the controller's Pod for `/readyz`, through the API server, at the only port that it declares.
    pub async fn read(client: &Client, pod: &str) -> Self {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}/proxy/readyz");
        let Ok(request) = hyper::Request::get(path).body(Vec::new()) else {
            return Self::Unknown(format!("`{pod}` is not the name of a Pod"));
        };
        match tokio::time::timeout(TIMEOUT, client.request_text(request)).await {
            Ok(Ok(_)) => Self::Ready,
            Ok(Err(kube::Error::Api(status))) => match status.message.strip_prefix("not ready: ") {
                Some(why) => Self::NotReady(why.trim_end().to_owned()),
                None => Self::Unknown(status.message.clone()),
            },
            Ok(Err(error)) => Self::Unknown(error.to_string()),
            Err(_) => Self::Unknown(format!("no answer within {} s", TIMEOUT.as_secs())),
        }
    }
}

/// How long the Pod may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);
