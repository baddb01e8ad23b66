//! The proxy behind a port on loopback: it adds the key to each request, and passes everything else on.
//!
//! A connection of a client has a connection to a Pod of its own, which lives as long and carries its
//! requests in their order; in HTTP/2, at once.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http_body_util::{Either, Full};
use hyper::{
    Method, Request, Response, StatusCode, Uri, Version,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HOST, HeaderValue},
    service::service_fn,
    upgrade::OnUpgrade,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{net::TcpListener, sync::Mutex, task::JoinSet};

use super::{
    hop::{remove_hop_by_hop, set_upgrade, upgrade_of},
    upstream::{Connect, Unanswered, Upstream},
};
use crate::forward::member::Member;

/// Serves the clients of `listener`, until the task is aborted.
pub(super) async fn serve(listener: TcpListener, pods: impl Connect, member: Member) {
    let shared = Arc::new((pods, member));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            // There is no free file descriptor; the next connection that closes frees one.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let relay = Arc::new(Relay { shared: Arc::clone(&shared), upstream: Mutex::new(None) });
        let service = service_fn(move |request| {
            let relay = Arc::clone(&relay);
            async move { Ok::<_, Infallible>(relay.answer(request).await) }
        });
        connections.spawn(async move {
            let mut server = auto::Builder::new(TokioExecutor::new());
            server.http1().preserve_header_case(true);
            let stream = TokioIo::new(stream);
            // An error here means that the client has closed the connection.
            let _ = server.serve_connection_with_upgrades(stream, service).await;
        });
    }
}

/// The body of an answer: the Pod's, or one of this proxy.
type Body = Either<Incoming, Full<Bytes>>;

/// One connection of a client.
struct Relay<P> {
    shared: Arc<(P, Member)>,
    /// The connection to the Pod; `None` before the first request, and in HTTP/1 during one.
    upstream: Mutex<Option<Upstream>>,
}

impl<P: Connect> Relay<P> {
    async fn answer(&self, mut request: Request<Incoming>) -> Response<Body> {
        if request.method() == Method::CONNECT {
            return refusal(StatusCode::NOT_IMPLEMENTED, "this port is no proxy for CONNECT");
        }
        let upgrade = upgrade_of(request.headers());
        remove_hop_by_hop(request.headers_mut());
        if let Err(error) = self.shared.1.tag(request.headers_mut()) {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return refusal(status, &error.to_string());
        }
        let is_http2 = request.version() == Version::HTTP_2;
        let mut client = None;
        if !is_http2 {
            to_origin_form(&mut request);
            client = upgrade.map(|protocol| {
                set_upgrade(request.headers_mut(), protocol);
                hyper::upgrade::on(&mut request)
            });
        }
        match self.send(request, is_http2).await {
            Ok(response) => passed_on(response, client),
            Err(error) => refusal(StatusCode::BAD_GATEWAY, &format!("{error:#}")),
        }
    }

    /// Sends a request to the Pod. A connection that turns out to be closed is replaced once.
    async fn send(
        &self,
        mut request: Request<Incoming>,
        is_http2: bool,
    ) -> anyhow::Result<Response<Incoming>> {
        for _ in 0..2 {
            let mut upstream = self.take_upstream(is_http2).await?;
            match upstream.send(request).await {
                Ok(response) => {
                    // One that was upgraded is not HTTP any more, and `is_ready` finds it closed.
                    if !is_http2 {
                        *self.upstream.lock().await = Some(upstream);
                    }
                    return Ok(response);
                }
                Err(Unanswered::Unsent(unsent)) => request = *unsent,
                Err(Unanswered::Failed(error)) => return Err(error),
            }
        }
        anyhow::bail!("the Pod closes every connection")
    }

    async fn take_upstream(&self, is_http2: bool) -> anyhow::Result<Upstream> {
        let mut slot = self.upstream.lock().await;
        let mut known = slot.take();
        let is_usable = match &mut known {
            Some(upstream) => upstream.is_ready().await,
            None => false,
        };
        let upstream = match known.filter(|_| is_usable) {
            Some(upstream) => upstream,
            None => Upstream::connect(&self.shared.0, is_http2).await?,
        };
        *slot = upstream.share();
        Ok(upstream)
    }
}

/// The Pod's answer. After a 101, the two connections are joined.
fn passed_on(mut response: Response<Incoming>, client: Option<OnUpgrade>) -> Response<Body> {
    let upgrade = upgrade_of(response.headers());
    remove_hop_by_hop(response.headers_mut());
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let (Some(client), Some(protocol)) = (client, upgrade) else {
            return refusal(
                StatusCode::BAD_GATEWAY,
                "the Pod upgrades a request that did not ask for it",
            );
        };
        set_upgrade(response.headers_mut(), protocol);
        let pod = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            let (Ok(client), Ok(pod)) = tokio::join!(client, pod) else { return };
            let (mut client, mut pod) = (TokioIo::new(client), TokioIo::new(pod));
            // An error here means that one of the two has closed its connection.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut pod).await;
        });
    }
    response.map(Either::Left)
}

/// Removes the authority from the target of an HTTP/1 request, where a client took this for a proxy. It
/// takes precedence over `Host` (RFC 9112, section 3.2.2).
fn to_origin_form(request: &mut Request<Incoming>) {
    *request.version_mut() = Version::HTTP_11;
    if let Some(authority) = request.uri().authority().cloned() {
        if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
            request.headers_mut().insert(HOST, host);
        }
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
    }
}

/// An answer of this proxy itself.
fn refusal(status: StatusCode, why: &str) -> Response<Body> {
    let mut response = Response::new(Either::Right(Full::from(format!("skycap: {why}\n"))));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}

#[cfg(test)]
mod tests;
