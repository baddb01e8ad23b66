//! A server that takes comments on a pull request as GitHub and GitLab do: pages with a header `Link`,
//! authors, tokens with and without the right to write, errors that pass.

#[cfg(test)]
mod tests;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, LINK},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

/// A running server. It ends when it is dropped.
#[derive(Debug)]
pub struct CodeHost {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _tasks: JoinSet<()>,
}

/// One comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// Its number.
    pub id: u64,
    /// Its text.
    pub body: String,
    /// Whether its author may write to the repository.
    pub is_trusted: bool,
}

#[derive(Debug, Default)]
struct State {
    comments: Vec<Comment>,
    /// The requests so far, as `METHOD path?query`.
    requests: Vec<String>,
    /// How many of the next writes are done, but answered with 502.
    lost_answers: usize,
    is_read_only: bool,
}

impl CodeHost {
    /// Starts a server for [`REPOSITORY`], or project 7, and pull request 9.
    ///
    /// # Errors
    /// If no port can be opened.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State::default()));
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&state);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                connections.spawn(async move {
                    let answer = service_fn(move |request| answer(Arc::clone(&state), request));
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Ok(Self { address, state, _tasks: tasks })
    }

    /// The base URL of the API.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The comments, oldest first.
    #[must_use]
    pub fn comments(&self) -> Vec<Comment> {
        self.with(|state| state.comments.clone())
    }

    /// The requests so far, as `METHOD path?query`.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.with(|state| state.requests.clone())
    }

    /// Adds a comment of somebody else.
    pub fn add(&self, body: &str, is_trusted: bool) {
        self.with(|state| state.add(body, is_trusted));
    }

    /// Does the next writes, but answers them with 502.
    pub fn lose_answers(&self, count: usize) {
        self.with(|state| state.lost_answers = count);
    }

    /// Refuses writes, as to a pull request from a fork of the repository.
    pub fn refuse_writes(&self) {
        self.with(|state| state.is_read_only = true);
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn add(&mut self, body: &str, is_trusted: bool) {
        let id = 100 + self.comments.len() as u64;
        self.comments.push(Comment { id, body: body.to_owned(), is_trusted });
    }

    /// Writes a comment: a new one, or the one that the last part of the path names.
    fn write(&mut self, method: &Method, path: &str, body: &str) -> StatusCode {
        let id: Option<u64> = path.rsplit('/').next().and_then(|id| id.parse().ok());
        match (method.as_str(), path, id) {
            ("POST", GITHUB | GITLAB, None) => self.add(body, true),
            ("PATCH", _, Some(id)) if path.starts_with(GITHUB_COMMENT) => {
                return self.edit(id, body);
            }
            ("PUT", _, Some(id)) if path.starts_with(GITLAB) => return self.edit(id, body),
            _ => return StatusCode::NOT_FOUND,
        }
        StatusCode::CREATED
    }

    fn edit(&mut self, id: u64, body: &str) -> StatusCode {
        match self.comments.iter_mut().find(|comment| comment.id == id) {
            Some(comment) => {
                body.clone_into(&mut comment.body);
                StatusCode::OK
            }
            None => StatusCode::NOT_FOUND,
        }
    }

    /// One page of the comments, and whether there is another one.
    fn page(&self, path: &str, query: &str) -> (Vec<Value>, bool) {
        let number = |name: &str, default: usize| {
            let value = query.split('&').find_map(|pair| pair.strip_prefix(name));
            value.and_then(|value| value.strip_prefix('=')?.parse().ok()).unwrap_or(default)
        };
        let (size, page) = (number("per_page", 30).min(100), number("page", 1).max(1));
        let json = |comment: &Comment| match path {
            GITHUB => json!({
                "id": comment.id,
                "body": comment.body,
                "user": {"id": 1, "type": if comment.is_trusted { "Bot" } else { "User" }},
                "author_association": "NONE",
            }),
            _ => json!({
                "id": comment.id,
                "body": comment.body,
                "author": {"id": if comment.is_trusted { ME } else { ME + 1 }},
            }),
        };
        let page_of = self.comments.iter().skip((page - 1) * size).take(size).map(json).collect();
        (page_of, page * size < self.comments.len())
    }
}

type Answer = Result<Response<Full<Bytes>>, hyper::Error>;

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let body: Value = serde_json::from_slice(&body.collect().await?.to_bytes()).unwrap_or_default();
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.requests.push(format!("{} {}", parts.method, parts.uri));
    let is_token = parts.headers.get(AUTHORIZATION).is_some_and(|header| header == BEARER);
    let mut response = Response::builder();
    let (status, said) = match (is_token, &parts.method) {
        (false, _) => (StatusCode::UNAUTHORIZED, json!({"message": "Bad credentials"})),
        (_, &Method::GET) if path == "/user" => (StatusCode::OK, json!({"id": ME})),
        (_, &Method::GET) if [GITHUB, GITLAB].contains(&path) => {
            let (comments, has_more) = state.page(path, query);
            if has_more {
                // As with GitHub, not the URL that was asked for.
                let next = "<http://elsewhere.test/comments?page=2>; rel=\"next\"";
                response =
                    response.header(LINK, format!("{next}, <http://elsewhere.test>; rel=\"last\""));
            }
            (StatusCode::OK, comments.into())
        }
        (_, &Method::GET) => (StatusCode::NOT_FOUND, json!({"message": "Not Found"})),
        _ if state.is_read_only => {
            (StatusCode::FORBIDDEN, json!({"message": "Resource not accessible by integration"}))
        }
        (_, method) => {
            let status = state.write(method, path, body["body"].as_str().unwrap_or_default());
            if state.lost_answers > 0 {
                state.lost_answers -= 1;
                (StatusCode::BAD_GATEWAY, json!("no JSON object"))
            } else {
                (status, json!({}))
            }
        }
    };
    let body = Full::new(Bytes::from(said.to_string()));
    Ok(response.status(status).body(body).unwrap_or_default())
}

/// The repository.
pub const REPOSITORY: &str = "shop/cart";
/// The only token that is accepted.
pub const TOKEN: &str = "secret-of-the-job";
const BEARER: &str = "Bearer secret-of-the-job";
const GITHUB: &str = "/repos/shop/cart/issues/9/comments";
const GITHUB_COMMENT: &str = "/repos/shop/cart/issues/comments/";
const GITLAB: &str = "/projects/7/merge_requests/9/notes";
/// The user that the token belongs to.
const ME: u64 = 5;
