//! Who a client is: the API server reviews its token.
//!
//! Every Pod of the cluster can reach the server, and ConfigMaps may be confidential, so a client shows the
//! token of its ServiceAccount. The token is for the audience `skycap` alone: nobody who reads it on its
//! way can use it with the API server.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{Api, Client, api::PostParams};
use ring::digest::{SHA256, digest};
use tokio::{sync::Semaphore, time::timeout};

use super::Answer;
use crate::observed::causes::causes;

/// Asks the API server about tokens, and remembers its answers for a while.
pub(super) struct Authentication {
    client: Client,
    reviewed: Mutex<Reviewed>,
    /// How many reviews may run at once, so that forged tokens do not keep the API server busy.
    reviews: Semaphore,
}

impl Authentication {
    pub(super) fn new(client: Client) -> Self {
        let reviewed = Mutex::default();
        Self { client, reviewed, reviews: Semaphore::new(REVIEWS) }
    }

    /// The namespace of the token's ServiceAccount.
    ///
    /// # Errors
    /// The answer to a client without a valid token.
    pub(super) async fn namespace(&self, token: &str) -> Result<String, Answer> {
        let digest = digest_of(token);
        let now = Instant::now();
        let known = self.reviewed().find(&digest, now);
        let namespace = match known {
            Some(Known { namespace, is_enough: true }) => namespace,
            stale => match (self.review(token).await, stale) {
                (Ok(namespace), _) => {
                    self.reviewed().put(digest, namespace.clone(), now);
                    namespace
                }
                // While the API server is away, whoever was let in stays.
                (Err(_), Some(stale)) => {
                    self.reviewed().failed = Some(Instant::now());
                    stale.namespace
                }
                (Err(error), None) => {
                    tracing::warn!(error = causes(error.as_ref()), "cannot review a token");
                    return Err(Answer::CannotCheck);
                }
            },
        };
        namespace.ok_or(Answer::Unauthorized)
    }

    /// `None` for a token that is invalid, or of no ServiceAccount.
    async fn review(&self, token: &str) -> anyhow::Result<Option<String>> {
        let spec =
            TokenReviewSpec { audiences: Some(vec![AUDIENCE.to_owned()]), token: token.to_owned() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let api = Api::<TokenReview>::all(self.client.clone());
        let params = PostParams::default();
        let review = async {
            let _permit = self.reviews.acquire().await?;
            anyhow::Ok(api.create(&params, &review).await?)
        };
        let review = timeout(REVIEW_TIME, review).await??;
        Ok(review.status.and_then(namespace_of))
    }

    fn reviewed(&self) -> std::sync::MutexGuard<'_, Reviewed> {
        self.reviewed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The namespace of a ServiceAccount whose token is valid for this audience.
fn namespace_of(status: TokenReviewStatus) -> Option<String> {
    // An authenticator that knows nothing of audiences leaves them out.
    let is_valid = status.authenticated.unwrap_or_default()
        && status.audiences.iter().flatten().any(|audience| audience == AUDIENCE);
    let user = status.user.filter(|_| is_valid)?.username?;
    let (namespace, _) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    Some(namespace.to_owned())
}

/// For how long an answer holds.
const fn fresh(namespace: &Option<String>) -> Duration {
    if namespace.is_some() { FRESH } else { REFUSED }
}

type Digest = [u8; 32];

/// Tokens themselves are not kept.
fn digest_of(token: &str) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    bytes
}

/// What the API server has said about tokens.
#[derive(Debug, Default)]
struct Reviewed {
    /// By the digests of the tokens; `None` for an invalid one.
    tokens: HashMap<Digest, (Option<String>, Instant)>,
    /// When it last did not answer.
    failed: Option<Instant>,
}

struct Known {
    /// `None` for an invalid token.
    namespace: Option<String>,
    /// Whether the API server need not be asked again.
    is_enough: bool,
}

impl Reviewed {
    fn find(&self, digest: &Digest, now: Instant) -> Option<Known> {
        let (namespace, reviewed) = self.tokens.get(digest)?;
        let age = now.saturating_duration_since(*reviewed);
        let is_fresh = age < fresh(namespace);
        let is_usable = is_fresh || (namespace.is_some() && age < USABLE);
        // An attempt can take seconds, for which the client does not learn of a change.
        let is_away =
            self.failed.is_some_and(|failed| now.saturating_duration_since(failed) < AWAY);
        let is_enough = is_fresh || is_away;
        is_usable.then(|| Known { namespace: namespace.clone(), is_enough })
    }

    fn put(&mut self, digest: Digest, namespace: Option<String>, now: Instant) {
        if self.tokens.len() >= TOKENS && !self.tokens.contains_key(&digest) {
            self.make_room(now);
        }
        self.tokens.insert(digest, (namespace, now));
    }

    /// Forgets what is of no use any more, else invalid tokens, else the one that was reviewed first.
    fn make_room(&mut self, now: Instant) {
        self.tokens.retain(|_, (namespace, reviewed)| {
            let age = now.saturating_duration_since(*reviewed);
            age < if namespace.is_some() { USABLE } else { fresh(namespace) }
        });
        if self.tokens.len() >= TOKENS {
            self.tokens.retain(|_, (namespace, _)| namespace.is_some());
        }
        let oldest = self.tokens.iter().min_by_key(|(_, (_, reviewed))| *reviewed);
        if let Some(oldest) =
            oldest.map(|(digest, _)| *digest).filter(|_| self.tokens.len() >= TOKENS)
        {
            self.tokens.remove(&oldest);
        }
    }
}

/// For whom a client's token must be.
pub(super) const AUDIENCE: &str = "skycap";
/// For how long a token is valid without another review.
const FRESH: Duration = Duration::from_secs(30);
/// For how long a token is invalid without another review: its ServiceAccount may just have been created.
const REFUSED: Duration = Duration::from_secs(5);
/// For how long a valid token is good enough while the API server does not answer: as long as the token
/// that the rendered Deployment mounts.
const USABLE: Duration = Duration::from_secs(600);
/// For how long the API server is not asked again about a known token after it has not answered.
const AWAY: Duration = Duration::from_secs(5);
/// How many tokens are remembered.
const TOKENS: usize = 1_024;
/// How many reviews run at once.
const REVIEWS: usize = 4;
/// How long a review may take, and the wait for it.
const REVIEW_TIME: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: usize) -> Digest {
        digest_of(&n.to_string())
    }

    #[test]
    fn forged_tokens_do_not_displace_valid_ones() {
        let (now, mut reviewed) = (Instant::now(), Reviewed::default());
        reviewed.put(digest(0), Some("shop".into()), now);
        for n in 1..3 * TOKENS {
            reviewed.put(digest(n), None, now);
        }
        assert!(reviewed.tokens.len() <= TOKENS, "{} tokens", reviewed.tokens.len());
        let known = reviewed.find(&digest(0), now + FRESH).expect("the valid token is remembered");
        assert!(!known.is_enough && known.namespace.as_deref() == Some("shop"));
        assert!(reviewed.find(&digest(0), now + USABLE).is_none(), "not for ever");
        assert!(reviewed.find(&digest(3 * TOKENS - 1), now + FRESH).is_none(), "an invalid one");
    }

    #[test]
    fn only_service_accounts_of_the_audience_have_a_namespace() {
        for (user, audience, is_valid, namespace) in [
            ("system:serviceaccount:shop:queue", AUDIENCE, true, Some("shop")),
            ("system:serviceaccount:shop:queue", AUDIENCE, false, None),
            ("system:serviceaccount:shop:queue", "https://kubernetes.default.svc", true, None),
            ("alice", AUDIENCE, true, None),
        ] {
            let json = serde_json::json!({
                "authenticated": is_valid, "audiences": [audience], "user": {"username": user},
            });
            let status = serde_json::from_value(json).expect("a status");
            assert_eq!(namespace_of(status).as_deref(), namespace, "{user} {audience} {is_valid}");
        }
    }
}
