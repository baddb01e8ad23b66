//! A machine of its own for each test that runs Pods: `machine.sh` starts the test program again inside.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};

/// Runs `test` on a machine of its own.
///
/// When the test program calls this first, it calls `prepare`, which may use the network. Then it starts
/// the test program again, on the machine and for the test `name` alone. The machine has no access to the
/// network. There, this function runs `test`.
///
/// The test is skipped if [`is_permitted`] says so.
///
/// # Errors
/// If the test fails there.
pub fn run_inside(
    name: &str,
    prepare: impl FnOnce() -> anyhow::Result<()>,
    test: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if is_inside() {
        return test();
    }
    if !is_permitted()? {
        return Ok(());
    }
    prepare()?;
    let output = Command::new(script())
        .arg(std::env::current_exe()?)
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .stdin(Stdio::null())
        .output()
        .context("cannot run machine.sh")?;
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "the test failed on its machine: {}", output.status);
    ensure!(text.contains("1 passed"), "no test has the name `{name}`");
    Ok(())
}

/// Whether tests can have machines of their own here. If not, prints the reason for which they are skipped.
///
/// # Errors
/// The reason, if `CI=true` is set: there, nothing may be skipped.
pub fn is_permitted() -> anyhow::Result<bool> {
    let Err(reason) = check() else { return Ok(true) };
    ensure!(std::env::var_os("CI").is_none_or(|set| set != "true"), "{reason}");
    println!("skipped: {reason}");
    Ok(false)
}

/// Checks that a program can have a machine of its own here.
///
/// # Errors
/// If not, with the reason and what to do.
pub fn check() -> anyhow::Result<()> {
    ensure!(cfg!(target_os = "linux"), "Pods need Linux; run this on a Linux machine");
    let id = Command::new("id").arg("-u").output().context("cannot run `id`")?;
    ensure!(id.stdout == b"0\n", "Pods need root; run this with sudo, or as root");
    let attempt = Command::new(script()).arg("true").stdin(Stdio::null()).output();
    let attempt = attempt.context("cannot run machine.sh")?;
    if !attempt.status.success() {
        bail!(
            "Pods need namespaces and cgroups of their own, which this machine does not permit: {}",
            String::from_utf8_lossy(&attempt.stderr).trim()
        );
    }
    Ok(())
}

/// The script that runs a program on a machine of its own.
#[must_use]
pub fn script() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/cluster/node/machine.sh"))
}

/// Whether this process runs on a machine of its own.
#[must_use]
pub fn is_inside() -> bool {
    std::env::var_os(NAME).is_some()
}

/// On a machine of its own: the file with the id of the process by which others enter it, as in
/// `nsenter --target $(cat FILE) --mount --pid --net`.
#[must_use]
pub fn entrance() -> PathBuf {
    std::env::temp_dir().join("pid")
}

pub(super) fn ensure_inside() -> anyhow::Result<()> {
    ensure!(is_inside(), "a node would change this machine; run it by `{}`", script().display());
    Ok(())
}

/// The name of the machine, which is also that of its cgroups.
pub(super) fn name() -> String {
    std::env::var(NAME).unwrap_or_default()
}

/// machine.sh sets it.
const NAME: &str = "SKYCAP_MACHINE";
