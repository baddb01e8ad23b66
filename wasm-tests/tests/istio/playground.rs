//! `cargo playground` ends in order, however it is stopped.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use skycap_tests::{
    fixture::module_path,
    process::{processes_with, send_signal},
};

#[test]
fn the_playground_leaves_nothing_behind() -> anyhow::Result<()> {
    module_path()?;
    for signal in ["INT", "TERM", "HUP", "KILL"] {
        let folder = tempfile::tempdir()?;
        let playground = start(folder.path())?;
        let variable = format!("TMPDIR={}", folder.path().display());
        let processes = processes_with(&variable)?;
        // etcd, kube-apiserver, the controller, istiod, and four agents with an Envoy each.
        anyhow::ensure!(processes.len() >= 12, "only {processes:?} run");
        stop(playground, signal)?;
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut left = processes_with(&variable)?;
        while !left.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
            left = processes_with(&variable)?;
        }
        anyhow::ensure!(left.is_empty(), "SIG{signal} leaves {left:?}");
        // A killed process cannot delete its folder.
        let files = fs::read_dir(folder.path())?.count();
        anyhow::ensure!(signal == "KILL" || files == 0, "SIG{signal} leaves {files} folders");
    }
    Ok(())
}

/// Starts the playground with this folder for temporary files, and waits until it is open.
fn start(folder: &Path) -> anyhow::Result<Child> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_playground"));
    command.arg("--no-pods").env("TMPDIR", folder).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut playground = command.spawn()?;
    let output = playground.stderr.take().context("no stderr")?;
    let mut lines = BufReader::new(output).lines();
    let is_open = |line: &std::io::Result<String>| {
        line.as_ref().is_ok_and(|line| line.contains("The logs are in"))
    };
    if !lines.any(|line| is_open(&line)) {
        anyhow::bail!("the playground ended with {}", playground.wait()?);
    }
    // From now on, nothing reads its output: like a closed terminal.
    Ok(playground)
}

fn stop(mut playground: Child, signal: &str) -> anyhow::Result<()> {
    send_signal(signal, &playground.id().to_string())?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while playground.try_wait()?.is_none() {
        anyhow::ensure!(Instant::now() < deadline, "SIG{signal} does not end the playground");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
