//! `cargo playground` opens the shop in Pods, and leaves nothing behind.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use skycap_tests::{
    cluster::machine,
    fixture::pods,
    process::{process_ids_with, send_signal},
};

#[test]
fn the_playground_routes_and_leaves_nothing_behind() -> anyhow::Result<()> {
    if !machine::is_permitted()? {
        return Ok(());
    }
    pods::prepare()?;
    let folder = tempfile::tempdir()?;
    let (mut playground, lines) = start(folder.path())?;
    let line = |part: &str| {
        let line = lines.iter().find(|line| line.trim_start().starts_with(part));
        line.with_context(|| format!("no line `{part}` in {lines:#?}"))
    };
    // The lines that it prints, as a person types them.
    let up = lines.iter().find(|line| line.contains(" up -f ")).context("no line with `up`")?;
    let typed =
        format!("{} sh -ec \"{}; {}; {up}\"", line("nsenter")?, line("export")?, line("curl")?,);
    let answer = Command::new("sh").args(["-c", &typed]).output()?;
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let name = format!("SKYCAP_MACHINE=skycap-{}", playground.id());
    ensure!(!process_ids_with(&name)?.is_empty(), "the test does not see its processes");
    send_signal("INT", &playground.id().to_string())?;
    playground.wait()?;
    ensure!(text.contains("cart-pr-1"), "{typed}: {text}{answer:?}");
    ensure!(text.contains("sidecars serve it"), "{typed}: {text}{answer:?}");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !process_ids_with(&name)?.is_empty() || fs::read_dir(folder.path())?.count() > 0 {
        ensure!(Instant::now() < deadline, "processes or files are left");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Starts the playground with this folder for temporary files, and waits until it is open. Returns what
/// it has printed.
fn start(folder: &std::path::Path) -> anyhow::Result<(Child, Vec<String>)> {
    // A shell cannot catch a signal that was ignored when it started, as SIGINT is in the background.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(env!("CARGO_BIN_EXE_playground"));
    command.env("TMPDIR", folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut playground = command.spawn()?;
    let output = playground.stderr.take().context("no stderr")?;
    let mut printed = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        let is_last = line.contains("The logs are in");
        printed.push(line);
        if is_last {
            return Ok((playground, printed));
        }
    }
    anyhow::bail!("the playground ended with {}:\n{}", playground.wait()?, printed.join("\n"))
}
