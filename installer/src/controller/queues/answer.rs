//! The answers to a request for rules.

use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    body::Bytes,
    header::{ALLOW, CONTENT_TYPE, ETAG, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
};

/// An answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// The rules as JSON, and their tag.
    Rules(Bytes, HeaderValue),
    NotModified(HeaderValue),
    InvalidWait,
    Unauthorized,
    Forbidden,
    NoSuchPath,
    NoSuchMethod,
    NoSuchQueue,
    /// The cluster is not read yet, or the controller is stopping.
    NotReady,
    /// Nobody can say now whether the token is valid.
    CannotCheck,
    /// Too many clients wait.
    Busy,
}

impl Answer {
    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let status = self.status();
        let text = Bytes::from_static(self.text().as_bytes());
        let (body, header) = match self {
            Self::Rules(json, tag) => (json, Some((ETAG, tag))),
            Self::NotModified(tag) => (Bytes::new(), Some((ETAG, tag))),
            Self::Unauthorized => {
                (text, Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))))
            }
            Self::NoSuchMethod => (text, Some((ALLOW, HeaderValue::from_static("GET")))),
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                (text, Some((RETRY_AFTER, HeaderValue::from_static("1"))))
            }
            _ => (text, None),
        };
        let content_type = match status {
            StatusCode::OK => Some("application/json"),
            StatusCode::NOT_MODIFIED => None,
            _ => Some("text/plain; charset=utf-8"),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        response.headers_mut().extend(header);
        let content_type =
            content_type.map(|value| (CONTENT_TYPE, HeaderValue::from_static(value)));
        response.headers_mut().extend(content_type);
        response
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::Rules(..) => StatusCode::OK,
            Self::NotModified(_) => StatusCode::NOT_MODIFIED,
            Self::InvalidWait => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NoSuchPath | Self::NoSuchQueue => StatusCode::NOT_FOUND,
            Self::NoSuchMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotReady | Self::CannotCheck | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn text(&self) -> &'static str {
        match self {
            Self::Rules(..) | Self::NotModified(_) => "",
            Self::InvalidWait => "invalid `wait`: expected a duration such as `30s`\n",
            Self::Unauthorized => {
                "unauthorized: expected a token of a ServiceAccount for the audience `skycap`\n"
            }
            Self::Forbidden => {
                "forbidden: expected a token of a ServiceAccount of the queue's namespace\n"
            }
            Self::NoSuchPath => "not found: expected /v1/queues/NAMESPACE/NAME\n",
            Self::NoSuchMethod => "not allowed: expected GET\n",
            Self::NoSuchQueue => {
                "not found: there is no such queue, or it is rejected; ask `skycap check`\n"
            }
            Self::NotReady => "not ready: the cluster is not read yet; try again\n",
            Self::CannotCheck => "cannot check the token now; try again\n",
            Self::Busy => "too many clients of this namespace wait already; try again\n",
        }
    }
}
