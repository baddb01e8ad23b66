//! Requests to the API of GitHub or GitLab.

use std::time::Duration;

use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderValue, LINK},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::problem::printable;

/// An API, and the token for it.
#[derive(Debug)]
pub(super) struct Api {
    client: Client,
    /// Its URL, without a slash at the end.
    url: String,
}

/// A request to the API that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommentError {
    /// No client for HTTPS can be made.
    #[error("cannot make a client for HTTPS; install the certificate authorities of the system")]
    NoClient(#[source] reqwest::Error),
    /// The host did not answer, or its answer cannot be read.
    #[error("no answer from `{url}`; check the network between the runner and the API")]
    NoAnswer {
        /// What was asked.
        url: String,
        /// Why there is none.
        source: reqwest::Error,
    },
    /// The token has no right to do it.
    #[error("`{url}` refuses the token with {status}: `{said}`; {ADVICE}")]
    Refused {
        /// What was asked.
        url: String,
        /// The status of the answer.
        status: StatusCode,
        /// The message of the answer.
        said: String,
    },
    /// Any other failure.
    #[error("`{url}` answers with {status}: `{said}`; try again later")]
    Failed {
        /// What was asked.
        url: String,
        /// The status of the answer.
        status: StatusCode,
        /// The message of the answer.
        said: String,
    },
}

impl CommentError {
    /// Whether the same request may succeed a moment later.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::NoAnswer { source, .. } => source.is_connect() || source.is_timeout(),
            Self::Failed { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::NoClient(_) | Self::Refused { .. } => false,
        }
    }
}

impl Api {
    pub(super) fn new(url: String, authorization: HeaderValue) -> Result<Self, CommentError> {
        // It fails if another part of the program has installed the same provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("skycap/", env!("CARGO_PKG_VERSION")))
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, authorization)]))
            .timeout(TIMEOUT)
            .build()
            .map_err(CommentError::NoClient)?;
        Ok(Self { client, url })
    }

    /// Reads one object.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CommentError> {
        let url = self.url(path);
        read(&url, send(&url, self.client.get(&url)).await?).await
    }

    /// Reads a list to its end. The header `Link` tells whether there is another page. The page is
    /// asked for by its number, so that the token goes to no URL that an answer contains.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Vec<T>, CommentError> {
        let (url, mut all) = (self.url(path), Vec::new());
        for page in 1_u32.. {
            let request = self.client.get(&url).query(&[("per_page", 100), ("page", page)]);
            let answer = send(&url, request).await?;
            let is_last = !has_next(answer.headers());
            let items: Vec<T> = read(&url, answer).await?;
            all.extend(items);
            if is_last {
                break;
            }
        }
        Ok(all)
    }

    /// Writes a comment.
    pub(super) async fn write(
        &self,
        method: Method,
        path: &str,
        text: &str,
    ) -> Result<(), CommentError> {
        let url = self.url(path);
        send(&url, self.client.request(method, &url).json(&json!({"body": text}))).await.map(drop)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

/// Sends a request. An answer with a status of an error is an error.
async fn send(url: &str, request: RequestBuilder) -> Result<Response, CommentError> {
    let answer = request.send().await.map_err(|source| no_answer(url, source))?;
    let (status, url) = (answer.status(), url.to_owned());
    if status.is_success() {
        return Ok(answer);
    }
    let said = printable(&message(answer).await);
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
            CommentError::Refused { url, status, said }
        }
        _ => CommentError::Failed { url, status, said },
    })
}

async fn read<T: DeserializeOwned>(url: &str, answer: Response) -> Result<T, CommentError> {
    answer.json().await.map_err(|source| no_answer(url, source))
}

fn no_answer(url: &str, source: reqwest::Error) -> CommentError {
    CommentError::NoAnswer { url: url.to_owned(), source: source.without_url() }
}

/// What an answer says about an error. GitHub and GitLab call it `message` (which GitLab may nest) or
/// `error`.
async fn message(answer: Response) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(alias = "error")]
        message: Value,
    }
    match answer.json().await {
        Ok(Refusal { message: Value::String(message) }) => message,
        Ok(Refusal { message }) => message.to_string(),
        Err(_) => "no message".to_owned(),
    }
}

/// Whether there is a next page (RFC 8288).
fn has_next(headers: &HeaderMap) -> bool {
    let links = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    links.flat_map(|links| links.split(',')).any(|link| link.contains(r#"rel="next""#))
}

/// The hosts say only that the token may not do it. For a missing permission, they may answer with 404.
const ADVICE: &str = "on GitHub, give the job `permissions: {pull-requests: write}` (a pull request from a \
                      fork never has it); on GitLab, give the token the scope `api` and the role Developer";
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
