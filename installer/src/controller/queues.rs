//! The server of the rules of queues, for `skycap-queue`: `GET /v1/queues/NAMESPACE/NAME`.
//!
//! It has an address of its own, so that clients that wait for a change never keep the kubelet from
//! `/healthz`. Each replica answers from its own watches, whether it leads or not. While the API server is
//! away, the last rules are served to whoever was let in before.
//!
//! | answer | when |
//! |---|---|
//! | 200 | with the rules as JSON ([`Rules`](crate::table::queue::rules::Rules)) and their `ETag` |
//! | 304 | they still have the `ETag` of `If-None-Match`; with `?wait=30s`, after that time at the latest |
//! | 401, 403 | no valid token for the audience `skycap`; one of another namespace |
//! | 404 | there is no such queue, or it is rejected |
//! | 503 | the cluster is not read yet, the token cannot be checked, or too many clients wait |

mod answer;
mod authentication;
mod published;
mod request;
mod waiting;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, service::service_fn};
use kube::Client;
use tokio::{sync::watch, task::JoinHandle};

pub(super) use self::published::Published;
use self::{answer::Answer, authentication::Authentication, request::Asked, waiting::Waiting};
use crate::serve::{Bounds, listen};

/// Serves on `address` until the task is aborted.
///
/// # Errors
/// If the address is in use.
pub(super) async fn start(
    address: SocketAddr,
    client: Client,
    rules: watch::Receiver<Published>,
) -> anyhow::Result<JoinHandle<()>> {
    let (authentication, waiting) = (Authentication::new(client), Waiting::default());
    let server = Arc::new(Server { authentication, waiting, rules });
    let service = service_fn(move |request: Request<Incoming>| {
        let server = server.clone();
        async move { Ok::<_, Infallible>(server.answer(&request).await.into_response()) }
    });
    listen(address, "--listen-queues", BOUNDS, service).await
}

struct Server {
    authentication: Authentication,
    waiting: Waiting,
    rules: watch::Receiver<Published>,
}

impl Server {
    async fn answer<B>(&self, request: &Request<B>) -> Answer {
        self.rules_or_refusal(request).await.unwrap_or_else(|refusal| refusal)
    }

    /// # Errors
    /// Any other answer than rules or 304.
    async fn rules_or_refusal<B>(&self, request: &Request<B>) -> Result<Answer, Answer> {
        let asked = Asked::of(request)?;
        let namespace = self.authentication.namespace(asked.token).await?;
        if namespace != asked.namespace {
            return Err(Answer::Forbidden);
        }
        let mut rules = self.rules.clone();
        let current = rules.borrow_and_update().find(&asked)?;
        let (Some(wait), Answer::NotModified(_)) = (asked.wait, &current) else {
            return Ok(current);
        };
        let _waits = self.waiting.enter(&namespace).ok_or(Answer::Busy)?;
        let end = tokio::time::sleep(wait);
        let mut end = std::pin::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return rules.borrow().find(&asked),
                changed = rules.changed() => {
                    // The controller is stopping.
                    changed.map_err(|_| Answer::NotReady)?;
                    let current = rules.borrow_and_update().find(&asked)?;
                    if !matches!(current, Answer::NotModified(_)) {
                        return Ok(current);
                    }
                }
            }
        }
    }
}

/// Two replicas for each of a hundred queues, with room for those that connect anew.
const BOUNDS: Bounds = Bounds {
    connections: 256,
    connection: Duration::from_secs(120),
    last_response: Duration::from_secs(65),
};
