//! The proxy between real clients and real servers of hyper. Only the way to the Pod is a pipe here; the
//! port-forward is tested on the tier `pods`.

use std::sync::{
    OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    body::Frame,
    client::conn,
    header::{CONNECTION, HeaderName},
};
use skycap_core::carrier::Carrier;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};

use super::*;
use crate::forward::upstream::Connection;

/// Pods with a server that answers with the body of the request, and its baggage in a header. It closes
/// the connection after `/close`, and answers an upgrade by sending back what it gets.
#[derive(Clone, Default)]
struct Pods {
    connections: Arc<AtomicUsize>,
    /// What the kubelet reports of every connection.
    failure: Option<&'static str>,
}

impl Connect for Pods {
    async fn connect(&self) -> anyhow::Result<Connection> {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let (stream, pod) = tokio::io::duplex(1 << 16);
        let failure = Arc::new(OnceLock::new());
        match self.failure {
            Some(text) => failure.set(text.to_owned()).expect("it is new"),
            None => drop(tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let service = service_fn(async |request| Ok::<_, Infallible>(pod_answer(request)));
                let _ = server.serve_connection_with_upgrades(TokioIo::new(pod), service).await;
            })),
        }
        Ok(Connection { stream, peer: "cart-1:8080".into(), failure })
    }
}

fn pod_answer(mut request: Request<Incoming>) -> Response<Body> {
    let baggage = request.headers().get("baggage").cloned();
    let is_upgrade = request.headers().contains_key("upgrade");
    let is_last = request.uri().path() == "/close";
    let upgraded = hyper::upgrade::on(&mut request);
    let mut response = Response::new(Either::Left(request.into_body()));
    if let Some(baggage) = baggage {
        response.headers_mut().insert(NAME, baggage);
    }
    if is_last {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if is_upgrade {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        set_upgrade(response.headers_mut(), HeaderValue::from_static("websocket"));
        tokio::spawn(async move {
            let (mut read, mut write) =
                tokio::io::split(TokioIo::new(upgraded.await.expect("101")));
            tokio::io::copy(&mut read, &mut write).await
        });
    }
    response
}

async fn open(pods: &Pods) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let member = Member::new(&[Carrier::default()], "pr-1".parse().expect("a key"));
    tokio::spawn(serve(listener, pods.clone(), member.expect("baggage is a carrier")));
    TcpStream::connect(address).await.expect("the proxy listens")
}

/// A body that is sent as it comes.
fn body_of(
    chunks: mpsc::Receiver<&'static str>,
) -> impl hyper::body::Body<Data = Bytes, Error = Infallible> {
    StreamBody::new(stream::unfold(chunks, async |mut chunks| {
        let chunk = chunks.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(chunk))), chunks))
    }))
}

#[tokio::test]
async fn a_body_is_streamed_in_both_directions_in_both_versions() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let pods = Pods::default();
        let stream = TokioIo::new(open(&pods).await);
        let (sender, chunks) = mpsc::channel(1);
        let request = Request::post("http://shop.test/items").header("host", "shop.test");
        let request = request.header("baggage", "a=1, b=2").body(Box::pin(body_of(chunks)));
        let request = request.expect("a request");
        let answer = if version == Version::HTTP_2 {
            let handshake = conn::http2::handshake(TokioExecutor::new(), stream).await;
            let (mut client, connection) = handshake.expect("HTTP/2");
            tokio::spawn(connection);
            client.send_request(request).await
        } else {
            let (mut client, connection) = conn::http1::handshake(stream).await.expect("HTTP/1");
            tokio::spawn(connection);
            client.send_request(request).await
        };
        let answer = answer.expect("an answer before the end of the request");
        assert_eq!(answer.version(), version);
        assert_eq!(
            answer.headers().get(NAME).map(HeaderValue::as_bytes),
            Some(&b"sandbox=pr-1,a=1, b=2"[..])
        );
        let mut body = answer.into_body();
        for chunk in ["one", "two"] {
            sender.send(chunk).await.expect("the body is read");
            let frame = body.frame().await.expect("a frame").expect("no error");
            assert_eq!(frame.into_data().expect("data"), chunk, "{version:?}");
        }
        drop(sender);
        assert!(body.collect().await.expect("the end").to_bytes().is_empty());
        assert_eq!(pods.connections.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_connection_is_kept_until_the_pod_closes_it() {
    let pods = Pods::default();
    let (mut client, connection) =
        conn::http1::handshake(TokioIo::new(open(&pods).await)).await.expect("HTTP/1");
    tokio::spawn(connection);
    let mut counts = Vec::new();
    for path in ["/", "/", "/close", "/", "/"] {
        client.ready().await.expect("the client's connection is kept");
        let request = Request::post(path).header("host", "a").body(Full::new(Bytes::from("text")));
        let answer = client.send_request(request.expect("a request")).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        let body = answer.into_body().collect().await.expect("a whole body");
        assert_eq!(body.to_bytes(), "text");
        counts.push(pods.connections.load(Ordering::SeqCst));
    }
    assert_eq!(counts, [1, 1, 1, 2, 2]);
}

#[tokio::test]
async fn an_upgraded_connection_carries_bytes_in_both_directions() {
    let mut stream = open(&Pods::default()).await;
    let request =
        "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("a connection");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a head"));
    }
    let head = String::from_utf8(head).expect("text");
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("sandbox=pr-1"), "{head}");
    for message in [&b"one"[..], b"three"] {
        stream.write_all(message).await.expect("a connection");
        let mut echo = vec![0; message.len()];
        stream.read_exact(&mut echo).await.expect("an echo");
        assert_eq!(echo, message);
    }
}

#[tokio::test]
async fn what_cannot_be_forwarded_gets_an_answer_that_says_why() {
    let refused = Pods { failure: Some("connection refused"), ..<_>::default() };
    let long = format!("a={}", "b".repeat(9_000));
    for (pods, method, baggage, status, why) in [
        (&refused, "GET", "", 502, "cannot reach Pod cart-1:8080: connection refused"),
        (&Pods::default(), "GET", long.as_str(), 431, "no room for the key"),
        (&Pods::default(), "CONNECT", "", 501, "no proxy for CONNECT"),
    ] {
        let mut stream = open(pods).await;
        let target = if method == "CONNECT" { "a:80" } else { "/" };
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: a\r\nBaggage: {baggage}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("a connection");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(why),
            "{answer}"
        );
    }
}

const NAME: HeaderName = HeaderName::from_static("x-baggage-of-the-request");
