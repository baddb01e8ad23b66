//! The client of the controller's `GET /v1/queues/NAMESPACE/NAME`: a long poll, so a change arrives at once.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use reqwest::{
    Client, StatusCode,
    header::{ETAG, HeaderValue, IF_NONE_MATCH},
};
use skycap::table::queue::rules::Rules;

use crate::board::Board;

/// Where the rules come from.
#[derive(Debug)]
pub struct RulesClient {
    client: Client,
    url: String,
    token: PathBuf,
    etag: Option<HeaderValue>,
}

impl RulesClient {
    /// A client of `controller` for the rules of `queue` (`NAMESPACE/NAME`). The file `token` is read
    /// before each request, because the kubelet renews it.
    ///
    /// # Errors
    /// If no client can be made.
    pub fn new(controller: &str, queue: &str, token: PathBuf) -> anyhow::Result<Self> {
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(WAIT + CONNECT)
            .no_proxy()
            .build()
            .context("cannot make an HTTP client")?;
        let url = format!(
            "{}/v1/queues/{queue}?wait={}s",
            controller.trim_end_matches('/'),
            WAIT.as_secs()
        );
        Ok(Self { client, url, token, etag: None })
    }

    /// Keeps the rules on the board up to date. While the controller does not answer, the last ones hold.
    pub async fn run(mut self, board: Arc<Board>) {
        let mut failures: u32 = 0;
        loop {
            match self.next().await {
                Ok(Some(rules)) => {
                    tracing::info!(
                        enabled = rules.enabled,
                        keys = rules.keys.len(),
                        sandboxes = rules.sandboxes.len(),
                        "new rules"
                    );
                    board.set_rules(Arc::new(rules));
                    failures = 0;
                }
                Ok(None) => failures = 0,
                Err(error) => {
                    failures = failures.saturating_add(1);
                    // Once for each failure that lasts, and not for each attempt.
                    if failures == LASTING {
                        tracing::warn!("no new rules, so the last ones hold: {error:#}");
                    }
                    tokio::time::sleep(pause(failures)).await;
                }
            }
        }
    }

    /// The next rules; `None` if they have not changed.
    async fn next(&mut self) -> anyhow::Result<Option<Rules>> {
        let token = tokio::fs::read_to_string(&self.token).await.with_context(|| {
            format!("cannot read `{}`: mount the token of the ServiceAccount", self.token.display())
        })?;
        let mut request = self.client.get(&self.url).bearer_auth(token.trim());
        if let Some(etag) = &self.etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let response = request.send().await.context("the controller does not answer")?;
        match response.status() {
            StatusCode::OK => {
                let etag = response.headers().get(ETAG).cloned();
                let rules = response.json().await.context("the controller's answer is no rules")?;
                self.etag = etag;
                Ok(Some(rules))
            }
            StatusCode::NOT_MODIFIED => Ok(None),
            status => {
                let said = response.text().await.unwrap_or_default();
                let said = skycap::problem::printable(said.trim());
                bail!("`{}` answers with {status}: `{said}`", self.url)
            }
        }
    }
}

/// 0.1 s after the first failure, then twice as long each time, up to 10 s.
fn pause(failures: u32) -> Duration {
    let steps = failures.saturating_sub(1).min(7);
    (Duration::from_millis(100) * 2_u32.pow(steps)).min(Duration::from_secs(10))
}

/// How long the controller waits for a change before it answers that there is none.
const WAIT: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(5);
/// How many attempts fail before the log says so: the controller may just restart.
const LASTING: u32 = 4;
