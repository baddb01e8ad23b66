//! A server of rules that a test sets: the controller's route, with its ETag and long poll.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, ETAG, IF_NONE_MATCH},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use skycap::table::queue::rules::Rules;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::timeout};

/// The server, and which rules each splitter holds.
pub(crate) struct RulesServer {
    pub(crate) url: String,
    current: watch::Sender<Arc<(u64, String)>>,
    held: Arc<Mutex<BTreeMap<String, u64>>>,
    task: JoinHandle<()>,
}

impl RulesServer {
    pub(crate) async fn start(rules: &Rules) -> Self {
        let text = serde_json::to_string(rules).unwrap();
        let (current, _) = watch::channel(Arc::new((0, text)));
        let held = Arc::new(Mutex::new(BTreeMap::new()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(serve(listener, current.clone(), held.clone()));
        Self { url, current, held, task }
    }

    /// Publishes rules, and returns their version.
    pub(crate) fn publish(&self, rules: &Rules) -> u64 {
        let text = serde_json::to_string(rules).unwrap();
        let version = self.current.borrow().0 + 1;
        self.current.send_replace(Arc::new((version, text)));
        version
    }

    /// The lowest version that a splitter may still hold; `None` if none holds any.
    pub(crate) fn lowest_held(&self) -> Option<u64> {
        self.held.lock().unwrap().values().copied().min()
    }

    /// Forgets a splitter that was killed, or whose session will have ended when it wakes up.
    pub(crate) fn forget(&self, identity: &str) {
        self.held.lock().unwrap().remove(identity);
    }

    /// The version of the rules that were published last.
    pub(crate) fn version(&self) -> u64 {
        self.current.borrow().0
    }
}

impl Drop for RulesServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Held = Arc<Mutex<BTreeMap<String, u64>>>;

async fn serve(listener: TcpListener, current: watch::Sender<Arc<(u64, String)>>, held: Held) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (current, held) = (current.clone(), held.clone());
        let service = service_fn(move |request| {
            let (current, held) = (current.subscribe(), held.clone());
            async move { Ok::<_, Infallible>(answer(&request, current, &held).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    request: &Request<Incoming>,
    mut current: watch::Receiver<Arc<(u64, String)>>,
    held: &Held,
) -> Response<Full<Bytes>> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let Some(identity) = header(AUTHORIZATION).and_then(|text| text.strip_prefix("Bearer ")) else {
        return response(StatusCode::UNAUTHORIZED, None, String::new());
    };
    let known = header(IF_NONE_MATCH).and_then(|tag| tag.trim_matches('"').parse::<u64>().ok());
    if let Some(known) = known {
        held.lock().unwrap().insert(identity.to_owned(), known);
        let changed = current.wait_for(|current| current.0 != known);
        if timeout(Duration::from_secs(30), changed).await.is_err() {
            return response(StatusCode::NOT_MODIFIED, Some(known), String::new());
        }
    }
    let (version, text) = current.borrow().as_ref().clone();
    // It holds what it has said, or these, until it says that it holds newer ones.
    held.lock().unwrap().entry(identity.to_owned()).or_insert_with(|| known.unwrap_or(version));
    response(StatusCode::OK, Some(version), text)
}

fn response(status: StatusCode, version: Option<u64>, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status);
    if let Some(version) = version {
        response = response.header(ETAG, format!("\"{version}\""));
    }
    response.body(Full::new(Bytes::from(text))).unwrap()
}
