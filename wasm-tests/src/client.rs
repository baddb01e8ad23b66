//! Requests to ports of this machine, each on a connection of its own.

use std::net::SocketAddr;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::{
    HeaderMap, Request, StatusCode,
    body::Bytes,
    client::conn::{http1, http2},
    header::HOST,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;

/// A complete response.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as text.
    pub body: String,
}

/// Sends `GET /` for `host` to `address` over HTTP/1.1, with these headers.
///
/// # Errors
/// If the response is not complete.
pub async fn send(address: SocketAddr, host: &str, headers: &HeaderMap) -> anyhow::Result<Answer> {
    send_to(address, host, "/", headers).await
}

/// As [`send`], for a path.
///
/// # Errors
/// If the response is not complete.
pub async fn send_to(
    address: SocketAddr,
    host: &str,
    path: &str,
    headers: &HeaderMap,
) -> anyhow::Result<Answer> {
    let mut request = Request::get(path).header(HOST, host).body(Empty::<Bytes>::new())?;
    request.headers_mut().extend(headers.clone());
    let stream = connect(address).await?;
    let (mut sender, connection) = http1::handshake(stream).await?;
    let connection = tokio::spawn(connection);
    let answer = collect(sender.send_request(request).await?).await;
    connection.abort();
    answer
}

/// As [`send`], over HTTP/2, where the host is in `:authority`.
///
/// # Errors
/// If the response is not complete.
pub async fn send_http2(
    address: SocketAddr,
    host: &str,
    headers: &HeaderMap,
) -> anyhow::Result<Answer> {
    let uri = format!("http://{host}/");
    let mut request = Request::get(uri).body(Empty::<Bytes>::new())?;
    request.headers_mut().extend(headers.clone());
    let stream = connect(address).await?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
    let connection = tokio::spawn(connection);
    let answer = collect(sender.send_request(request).await?).await;
    connection.abort();
    answer
}

/// The body of the response to `GET path`.
///
/// # Errors
/// If the response is not complete.
pub async fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let request = Request::get(path).header(HOST, "localhost").body(Empty::<Bytes>::new())?;
    let (mut sender, connection) = http1::handshake(connect(address).await?).await?;
    let connection = tokio::spawn(connection);
    let answer = collect(sender.send_request(request).await?).await;
    connection.abort();
    Ok(answer?.body)
}

/// The JSON in the response to `POST path`.
///
/// # Errors
/// If the response is not complete or not JSON.
pub async fn post(address: SocketAddr, path: &str, body: &Value) -> anyhow::Result<Value> {
    let body = Full::new(Bytes::from(body.to_string()));
    let request = Request::post(path).header(HOST, "localhost").body(body)?;
    let (mut sender, connection) = http1::handshake(connect(address).await?).await?;
    let connection = tokio::spawn(connection);
    let answer = collect(sender.send_request(request).await?).await;
    connection.abort();
    Ok(serde_json::from_str(&answer?.body)?)
}

async fn connect(address: SocketAddr) -> anyhow::Result<TokioIo<TcpStream>> {
    let stream = TcpStream::connect(address).await;
    Ok(TokioIo::new(stream.with_context(|| format!("cannot connect to {address}"))?))
}

async fn collect(response: hyper::Response<hyper::body::Incoming>) -> anyhow::Result<Answer> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Answer { status: parts.status, headers: parts.headers, body })
}
