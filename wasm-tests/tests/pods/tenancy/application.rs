//! The application of the example, with its database: processes of this machine.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use skycap_tests::{
    cluster::{Databases, databases},
    workspace,
};
use tokio::net::TcpStream;

/// Gets Postgres and the Python packages of the example.
pub(super) fn prepare() -> anyhow::Result<()> {
    databases()?;
    let complete = packages()?.join("complete");
    if !complete.is_file() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--target"]).arg(packages()?);
        run(pip.arg("--requirement").arg(example("requirements.txt")))?;
        fs::write(complete, "")?;
    }
    Ok(())
}

/// A running application. Dropping it ends it and its database.
pub(super) struct Application {
    processes: Vec<Child>,
    databases: Databases,
    postgres: u16,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Application {
    /// Starts the application with the code that `change` makes of the example's.
    pub(super) async fn start(change: impl Fn(&str) -> String) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("data");
        let code = folder.path().join("app.py");
        fs::write(&code, change(&fs::read_to_string(example("app.py"))?))?;
        let (postgres, port) = (free_port()?, free_port()?);
        let databases = databases()?;
        let mut application =
            Self { processes: Vec::new(), databases, postgres, port, _folder: folder };
        let mut initdb = application.program("initdb");
        run(initdb.args(["--username=postgres", "--auth=trust", "--no-sync", "-D"]).arg(&data))?;
        let mut server = application.program("postgres");
        server.arg("-D").arg(&data).args(["-p", &postgres.to_string()]);
        server.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        application.spawn(server.args(["-c", "fsync=off"]))?;
        application.is_open(postgres).await?;
        // It listens before it answers.
        let begun = Instant::now();
        while let Err(error) = application.psql(&["-c", "SELECT 1"]) {
            ensure!(begun.elapsed() < PATIENCE, "{error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        application.psql(&["--file", &example("schema.sql").to_string_lossy()])?;
        let url = format!("postgres://app:app@127.0.0.1:{postgres}/postgres");
        let mut python = Command::new("python3");
        python.arg(&code).env("PYTHONPATH", packages()?);
        application.spawn(python.env("DATABASE_URL", url).env("PORT", port.to_string()))?;
        application.is_open(port).await?;
        Ok(application)
    }

    pub(super) const fn address(&self) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), self.port)
    }

    /// How many rows belong to another sandbox than the one that wrote them.
    pub(super) fn misplaced_rows(&self) -> anyhow::Result<usize> {
        let query = "SELECT count(*) FROM orders WHERE split_part(item, '/', 1) <> coalesce(sandbox, 'baseline')";
        Ok(self.psql(&["-Atc", query])?.trim().parse()?)
    }

    fn psql(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut psql = self.program("psql");
        psql.args(["-h", "127.0.0.1", "-p", &self.postgres.to_string(), "-U", "postgres"]);
        let output = psql.args(["-v", "ON_ERROR_STOP=1"]).args(args).output()?;
        ensure!(output.status.success(), "{args:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// A program of Postgres, which refuses to run as root.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-user=65534", "--map-group=65534"])
            .arg(self.databases.of_postgres(name))
            .env("LD_LIBRARY_PATH", self.databases.libraries());
        command
    }

    fn spawn(&mut self, command: &mut Command) -> anyhow::Result<()> {
        self.processes.push(command.stdin(Stdio::null()).spawn()?);
        Ok(())
    }

    async fn is_open(&self, port: u16) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            ensure!(Instant::now() < deadline, "nothing listens on port {port}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A connection to the application.
pub(super) struct Session(http1::SendRequest<Full<Bytes>>);

impl Session {
    pub(super) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TokioIo::new(TcpStream::connect(address).await?);
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// The JSON that the application answers under a key.
    pub(super) async fn send(
        &mut self,
        key: &str,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let method = if body.is_some() { "POST" } else { "GET" };
        let mut request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        if key != "baseline" {
            request = request.header("baggage", format!("userId=alice,sandbox={key}"));
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.0.ready().await?;
        let response = self.0.send_request(request.body(Full::from(body))?).await?;
        let status = response.status();
        let text = response.into_body().collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&text);
        ensure!(status == 200, "{method} {path}: {status}: {text}");
        serde_json::from_str(&text).with_context(|| format!("{method} {path}: {text}"))
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {output:?}");
    Ok(())
}

fn packages() -> anyhow::Result<PathBuf> {
    Ok(workspace::cache()?.join("tenancy"))
}

fn example(file: &str) -> PathBuf {
    workspace::root().join("deploy/examples/tenancy").join(file)
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// How long to wait for a process to listen.
const PATIENCE: Duration = Duration::from_secs(60);
