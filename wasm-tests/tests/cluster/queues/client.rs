//! A client of the rules, as `skycap-queue` is one.

use anyhow::Context as _;
use hyper::{HeaderMap, StatusCode, header};
use serde_json::json;
use skycap_tests::{
    client::{Answer, send_to},
    cluster::Controller,
    fixture::Fixture,
};

/// Asks for the rules of queues in `shop`, with a token.
pub(super) struct Client {
    pub(super) token: String,
}

impl Client {
    /// With a token of a ServiceAccount of this namespace, for the audience `skycap`.
    pub(super) async fn of(fixture: &Fixture, namespace: &str) -> anyhow::Result<Self> {
        fixture
            .apply(
                &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
            )
            .await?;
        let metadata = json!({"name": ACCOUNT, "namespace": namespace});
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata});
        fixture.apply(&account).await?;
        let token = fixture.cluster.token_for(namespace, ACCOUNT, Some("skycap")).await?;
        Ok(Self { token })
    }

    pub(super) const fn with(token: String) -> Self {
        Self { token }
    }

    /// The tag and the rules of the queue `orders`.
    pub(super) async fn rules(&self, controller: &Controller) -> anyhow::Result<(String, String)> {
        let answer = self.ask(controller, "orders", "", None).await?;
        anyhow::ensure!(answer.status == StatusCode::OK, "{answer:?}");
        Ok((tag(&answer)?, answer.body))
    }

    /// Waits until the rules do not have this tag any more.
    pub(super) async fn wait(
        &self,
        controller: &Controller,
        time: &str,
        tag: &str,
    ) -> anyhow::Result<Answer> {
        self.ask(controller, "orders", &format!("?wait={time}"), Some(tag)).await
    }

    pub(super) async fn ask(
        &self,
        controller: &Controller,
        queue: &str,
        query: &str,
        tag: Option<&str>,
    ) -> anyhow::Result<Answer> {
        let mut headers = HeaderMap::new();
        if !self.token.is_empty() {
            headers.insert(header::AUTHORIZATION, format!("Bearer {}", self.token).parse()?);
        }
        if let Some(tag) = tag {
            headers.insert(header::IF_NONE_MATCH, tag.parse()?);
        }
        let path = format!("/v1/queues/shop/{queue}{query}");
        send_to(controller.queues(), "skycap-controller", &path, &headers).await
    }
}

pub(super) fn tag(answer: &Answer) -> anyhow::Result<String> {
    let tag = answer.headers.get(header::ETAG).with_context(|| format!("no tag: {answer:?}"))?;
    Ok(tag.to_str()?.to_owned())
}

/// The ServiceAccount of the client.
pub(super) const ACCOUNT: &str = "skycap-queue-orders";
