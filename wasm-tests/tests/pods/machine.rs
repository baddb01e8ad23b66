//! A machine of its own leaves nothing behind, whichever of its processes is killed.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use skycap_tests::{
    cluster::machine,
    process::{processes_with, send_signal},
};

#[test]
fn nothing_is_left_whichever_process_is_killed() -> anyhow::Result<()> {
    if !machine::is_permitted()? {
        return Ok(());
    }
    for (about, signal, index) in [
        ("the script", "KILL", None),
        ("the script", "TERM", None),
        ("the script", "INT", None),
        ("the cleaner", "KILL", Some(0)),
        ("the namespaces' first process", "KILL", Some(1)),
    ] {
        let (mut script, name, folder) = start()?;
        let pid = script.id().to_string();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let victim = match index {
            None => pid.as_str(),
            Some(index) => children.split_whitespace().nth(index).context("no such process")?,
        };
        send_signal(signal, victim)?;
        if about == "the cleaner" {
            send_signal("TERM", &pid)?;
        }
        script.wait()?;
        is_gone(&name, &folder, &format!("{signal} to {about}"))?;
    }
    Ok(())
}

#[test]
fn two_machines_do_not_meet() -> anyhow::Result<()> {
    if !machine::is_permitted()? {
        return Ok(());
    }
    // Both have the node's address, and listen on the same port.
    let (mut first, first_name, first_folder) = start()?;
    let (mut second, second_name, second_folder) = start()?;
    for folder in [&first_folder, &second_folder] {
        let entrance = fs::read_to_string(Path::new(folder).join("pid"))?;
        let typed = format!(
            "nsenter --target {} --mount --pid --net sh -ec 'ip addr add 10.77.1.1/32 dev lo;
             [ $(ps -e -o comm= | grep -c sleep) = 2 ]; [ -z \"$(ls /run/theirs 2> /dev/null)\" ];
             touch /run/theirs'",
            entrance.trim()
        );
        let output = Command::new("sh").args(["-c", &typed]).output()?;
        ensure!(output.status.success(), "the machines share something: {output:?}");
    }
    send_signal("KILL", &first.id().to_string())?;
    first.wait()?;
    is_gone(&first_name, &first_folder, "KILL to the first machine")?;
    let left = processes_with(&format!("SKYCAP_MACHINE={second_name}"))?;
    let sleeping = left.iter().filter(|name| *name == "sleep\n").count();
    ensure!(sleeping == 2, "the second machine has not survived the first: {left:?}");
    send_signal("TERM", &second.id().to_string())?;
    second.wait()?;
    is_gone(&second_name, &second_folder, "TERM to the second machine")
}

/// Starts a machine on which two processes sleep. Returns its name and its folder.
fn start() -> anyhow::Result<(Child, String, String)> {
    // A shell cannot catch a signal that was ignored when it started, as SIGINT is in the background.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(machine::script());
    command.args(["sh", "-c", "echo $SKYCAP_MACHINE $TMPDIR; sleep 1000 & sleep 1001"]);
    let mut script = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    let output = script.stdout.take().context("no output")?;
    BufReader::new(output).read_line(&mut line)?;
    let (name, folder) = line.trim().split_once(' ').context("the machine does not start")?;
    let (name, folder) = (name.to_owned(), folder.to_owned());
    ensure!(left_of(&name, &folder)?.is_some(), "the test does not see its machine");
    Ok((script, name, folder))
}

/// Waits until nothing of the machine is left.
fn is_gone(name: &str, folder: &str, event: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Some(left) = left_of(name, folder)? {
        ensure!(Instant::now() < deadline, "{event}: `{left}` is left");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A folder, a cgroup or a process of the machine.
fn left_of(name: &str, folder: &str) -> anyhow::Result<Option<String>> {
    if Path::new(folder).exists() {
        return Ok(Some(folder.to_owned()));
    }
    let cgroups = fs::read_dir("/sys/fs/cgroup")?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut cgroups =
        cgroups.map(|root| root.join(name)).chain([Path::new("/sys/fs/cgroup").join(name)]);
    if let Some(cgroup) = cgroups.find(|cgroup| cgroup.exists()) {
        return Ok(Some(cgroup.display().to_string()));
    }
    let processes = processes_with(&format!("SKYCAP_MACHINE={name}"))?;
    Ok(processes.into_iter().next())
}
