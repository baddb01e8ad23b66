//! Splitters as processes.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use skycap_tests::process::{killed_with_parent, send_signal};
use tempfile::TempDir;

/// How splitters are started.
pub(crate) struct Launcher {
    folder: TempDir,
    controller: String,
}

impl Launcher {
    /// Splitters of the queue `orders` of `shop`, with these further fields of the ConfigMap.
    pub(crate) fn new(controller: &str, servers: &str, fields: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("queue");
        fs::create_dir(&config).unwrap();
        let kafka = format!("bootstrap.servers: {servers}\n");
        let usual = [("kafka", kafka.as_str()), ("topic", "orders"), ("group", "cart")];
        // A field takes the place of a usual one.
        for (name, text) in usual.iter().chain(fields) {
            fs::write(config.join(name), text).unwrap();
        }
        Self { folder, controller: controller.to_owned() }
    }

    /// The command line of a splitter.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_of("orders", arguments)
    }

    fn command_of(&self, queue: &str, arguments: &[&str]) -> Command {
        let secret = self.folder.path().join("secret");
        let mut command = killed_with_parent(env!("CARGO_BIN_EXE_skycap-queue"));
        command
            .args(["--queue", &format!("shop/{queue}"), "--controller", &self.controller])
            .arg("--config")
            .arg(self.folder.path().join("queue"))
            .args(secret.is_dir().then_some("--secret"))
            .args(secret.is_dir().then_some(&secret))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Starts a splitter of this name.
    pub(crate) fn start(&self, identity: &str) -> Splitter {
        self.start_queue("orders", identity)
    }

    /// Starts a splitter of another queue, with the same fields.
    pub(crate) fn start_queue(&self, queue: &str, identity: &str) -> Splitter {
        let token = self.folder.path().join(format!("token-{identity}"));
        fs::write(&token, identity).unwrap();
        let log = self.folder.path().join(format!("{identity}.log"));
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let listen = port.local_addr().unwrap();
        drop(port);
        let child = self
            .command_of(
                queue,
                &["--identity", identity, "--listen", &listen.to_string(), "--token"],
            )
            .arg(token)
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Splitter { identity: identity.to_owned(), listen, log, child }
    }

    /// Adds a property to the queue's Secret.
    pub(crate) fn set_secret(&self, property: &str, value: &str) {
        let folder = self.folder.path().join("secret");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(property), value).unwrap();
    }
}

/// A running splitter. Dropping it kills it.
pub(crate) struct Splitter {
    pub(crate) identity: String,
    listen: SocketAddr,
    log: PathBuf,
    child: Child,
}

impl Splitter {
    /// What an endpoint answers, such as `/readyz`; empty if it does not answer.
    pub(crate) async fn get(&self, path: &str) -> String {
        skycap_tests::client::get(self.listen, path).await.unwrap_or_default()
    }

    /// The value of a metric, such as `skycap_queue_lag`.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics").await;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    pub(crate) async fn wait_until_ready(&self) {
        self.wait_for("it is ready", async || self.get("/readyz").await == "ok\n").await;
    }

    /// Waits until `/readyz` contains this text.
    pub(crate) async fn wait_until_it_says(&self, text: &str) {
        self.wait_for(text, async || self.get("/readyz").await.contains(text)).await;
    }

    pub(crate) async fn wait_for_metric(&self, name: &str, expected: f64) {
        self.wait_for(name, async || self.metric(name).await == Some(expected)).await;
    }

    async fn wait_for(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds().await {
            let state = self.get("/readyz").await;
            assert!(Instant::now() < deadline, "not in time: {what}; {state}{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The most memory that it has had, in MB.
    pub(crate) fn peak_memory(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1_024.0
    }

    pub(crate) fn signal(&self, signal: &str) {
        send_signal(signal, &self.child.id().to_string()).unwrap();
    }

    /// Kills it, as in a crash.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as Kubernetes does, and checks that it ends without an error.
    pub(crate) async fn stop(self) {
        let status = self.terminate().await;
        assert!(status.success(), "{status}");
    }

    /// Ends it as Kubernetes does, whatever it was doing.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        // It may have ended already.
        drop(send_signal("TERM", &self.child.id().to_string()));
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it does not stop:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.child.wait().unwrap()
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Splitter {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
