//! A stand-in for an API server: it answers each path with one JSON document, and everything else
//! with 404. It shows which path a command asks for; what a real API server does with it is tested in
//! `wasm-tests`.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use serde_json::{Value, json};

/// A running stand-in, with a kubeconfig for it. Its threads end with the test program.
pub(crate) struct ApiServer {
    folder: tempfile::TempDir,
    address: String,
}

impl ApiServer {
    /// Serves `documents`, by their paths.
    pub(crate) fn start(documents: BTreeMap<String, Value>) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let documents = Arc::new(documents);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let documents = Arc::clone(&documents);
                thread::spawn(move || serve(&stream, &documents));
            }
        });
        Ok(Self { folder: tempfile::tempdir()?, address })
    }

    /// The path of a kubeconfig whose current context has this namespace, or none.
    pub(crate) fn kubeconfig(&self, namespace: Option<&str>) -> std::io::Result<PathBuf> {
        kubeconfig(self.folder.path(), &self.address, namespace)
    }
}

/// Writes a kubeconfig for the API server at `address`.
pub(crate) fn kubeconfig(
    folder: &Path,
    address: &str,
    namespace: Option<&str>,
) -> std::io::Result<PathBuf> {
    let mut context = json!({"cluster": "test", "user": "test"});
    if let Some(namespace) = namespace {
        context["namespace"] = namespace.into();
    }
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": context}],
        "current-context": "test",
    });
    let path = folder.join(format!("kubeconfig-{}", namespace.unwrap_or("none")));
    std::fs::write(&path, config.to_string())?;
    Ok(path)
}

/// Answers the requests of one connection.
fn serve(stream: &TcpStream, documents: &BTreeMap<String, Value>) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    loop {
        let request = lines.next()?.ok()?;
        let path = request.split(' ').nth(1)?.split('?').next()?.to_owned();
        // No request here has a body: it ends with an empty line.
        while !lines.next()?.ok()?.is_empty() {}
        let missing = json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 404,
            "reason": "NotFound", "message": "not found", "metadata": {}, "details": {},
        });
        let (status, body) = match documents.get(&path) {
            Some(document) => ("200 OK", document.to_string()),
            None => ("404 Not Found", missing.to_string()),
        };
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\n");
        let length = body.len();
        let mut out = stream;
        write!(out, "{head}content-length: {length}\r\n\r\n{body}").ok()?;
    }
}
