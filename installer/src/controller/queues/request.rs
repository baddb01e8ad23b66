//! What a client asks for.

use std::time::Duration;

use hyper::{
    Method, Request,
    header::{AUTHORIZATION, HeaderMap, IF_NONE_MATCH},
};
use jiff::SignedDuration;

use super::Answer;

/// A request for the rules of a queue.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) token: &'a str,
    /// The tags that the client knows.
    pub(super) known: Vec<&'a str>,
    /// How long to wait for a change.
    pub(super) wait: Option<Duration>,
}

impl<'a> Asked<'a> {
    /// # Errors
    /// The answer to what is no such request.
    pub(super) fn of<B>(request: &'a Request<B>) -> Result<Self, Answer> {
        let (namespace, name) = queue(request.uri().path()).ok_or(Answer::NoSuchPath)?;
        if request.method() != Method::GET {
            return Err(Answer::NoSuchMethod);
        }
        let token = token(request.headers()).ok_or(Answer::Unauthorized)?;
        let wait = request.uri().query().map_or(Ok(None), wait)?;
        let known = request.headers().get_all(IF_NONE_MATCH).iter();
        let known =
            known.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let known = known.map(|tag| tag.trim().trim_start_matches("W/")).collect();
        Ok(Self { namespace, name, token, known, wait })
    }
}

fn queue(path: &str) -> Option<(&str, &str)> {
    let (namespace, name) = path.strip_prefix("/v1/queues/")?.split_once('/')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains('/')).then_some((namespace, name))
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    Some(token.trim()).filter(|token| is_bearer && !token.is_empty())
}

fn wait(query: &str) -> Result<Option<Duration>, Answer> {
    let Some(text) = query.split('&').find_map(|pair| pair.strip_prefix("wait=")) else {
        return Ok(None);
    };
    let wait = text.parse::<SignedDuration>().ok().and_then(|wait| Duration::try_from(wait).ok());
    wait.map(|wait| Some(wait.min(LONGEST_WAIT))).ok_or(Answer::InvalidWait)
}

/// How long a client waits at most.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
